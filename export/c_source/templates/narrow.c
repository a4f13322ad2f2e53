/* Computes a layer with @OUTPUTS@ output channels. The sums run along the input channels, a vector at a time. */
static void ganport_narrow_@OUTPUTS@(const ganport_layer *layer, const float *weights, const float *bias,
                                     const float *in, float *out)
{
    const ganport_vector zero = {0};
    for (int row = 0; row < layer->rows; ++row) {
        for (int column = 0; column < layer->columns; ++column) {
            float *const target = out + row * layer->out_row_step + column * layer->out_column_step;
            ganport_vector sums[@OUTPUTS@];
            float rest[@OUTPUTS@];
            GANPORT_UNROLL
            for (int o = 0; o < @OUTPUTS@; ++o) {
                sums[o] = zero;
                rest[o] = bias[o];
            }
            for (int tap = 0; tap < layer->tap_count; ++tap) {
                const int y = row * layer->row_stride + layer->taps[2 * tap];
                const int x = column * layer->column_stride + layer->taps[2 * tap + 1];
                const float *const point = in + y * layer->row_step + x * layer->column_step;
                const float *const kernel = weights + tap * @OUTPUTS@ * layer->channels;
                int channel = 0;
                if (y < 0 || y >= layer->height || x < 0 || x >= layer->width)
                    continue;
                for (; channel + GANPORT_VECTOR <= layer->channels; channel += GANPORT_VECTOR) {
                    ganport_vector pixel, row_of_weights;
                    memcpy(&pixel, point + channel, sizeof pixel);
                    GANPORT_UNROLL
                    for (int o = 0; o < @OUTPUTS@; ++o) {
                        memcpy(&row_of_weights, kernel + o * layer->channels + channel, sizeof row_of_weights);
                        sums[o] += pixel * row_of_weights;
                    }
                }
                for (; channel < layer->channels; ++channel) {
                    GANPORT_UNROLL
                    for (int o = 0; o < @OUTPUTS@; ++o)
                        rest[o] += point[channel] * kernel[o * layer->channels + channel];
                }
            }
            GANPORT_UNROLL
            for (int o = 0; o < @OUTPUTS@; ++o) {
                float lanes[GANPORT_VECTOR];
                memcpy(lanes, &sums[o], sizeof lanes);
                for (int lane = 0; lane < GANPORT_VECTOR; ++lane)
                    rest[o] += lanes[lane];
                target[o] = rest[o];
            }
        }
    }
}
