/* Each output pixel is a weighted sum of input pixels: of `row_taps` rows and `column_taps` columns. */
typedef struct {
    const short *row_indices, *column_indices;
    const float *row_weights, *column_weights;
    int row_taps, column_taps;
    int rows, columns, channels;
    int row_step, column_step, out_row_step, out_column_step, channel_step;
} ganport_resampling;

static void ganport_resample(const ganport_resampling *how, const float *in, float *out)
{
    for (int row = 0; row < how->rows; ++row) {
        for (int column = 0; column < how->columns; ++column) {
            float *const target = out + row * how->out_row_step + column * how->out_column_step;
            for (int channel = 0; channel < how->channels; ++channel)
                target[channel] = 0.0f;
            for (int i = 0; i < how->row_taps; ++i) {
                for (int j = 0; j < how->column_taps; ++j) {
                    const int y = row * how->row_taps + i, x = column * how->column_taps + j;
                    const float *const point = in + how->row_indices[y] * how->row_step
                                               + how->column_indices[x] * how->column_step;
                    const float weight = how->row_weights[y] * how->column_weights[x];
                    for (int channel = 0; channel < how->channels; ++channel)
                        target[channel] += weight * point[channel * how->channel_step];
                }
            }
        }
    }
}
