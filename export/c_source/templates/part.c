/* Some rows of a kernel, for some output channels. Each tap has a row of weights for each input channel. */
typedef struct {
    const float *weights;
    int width;                        /* floats from one row of weights to the next */
    const float *bias;                /* NULL if the output already holds sums of earlier parts */
    int outputs;                      /* number of output channels */
    int first_tap, last_tap;
    int first_channel, channels;
} ganport_part;
