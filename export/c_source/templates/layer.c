/* A layer: a convolution, or one output phase of a transposed convolution. All steps are numbers of floats. */
typedef struct {
    const short *taps;                /* row and column of each tap of the kernel, relative to the pixel */
    int tap_count;
    int height, width, channels;      /* of the input */
    int row_step, column_step;        /* between rows and columns of the input */
    int rows, columns, outputs;       /* of the output */
    int out_row_step, out_column_step;
    int row_stride, column_stride;    /* rows and columns of the input for each row and column of the output */
} ganport_layer;
