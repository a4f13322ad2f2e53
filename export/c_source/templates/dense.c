/* Adds a part of a kernel to @COUNT@ vectors of output channels of the only pixel. Four sums for each output
   channel are independent of each other, so the processor need not wait for the last one. */
static void ganport_dense_@NAME@(const ganport_part *part, const float *in, float *out)
{
    const @TYPE@ zero = {0};
    @TYPE@ sums[4][@COUNT@];
    float lanes[@LANES@] = {0};
    const float *weights = part->weights;
    int channel = 0;
    in += part->first_channel;
    GANPORT_UNROLL
    for (int k = 0; k < 4; ++k) {
        GANPORT_UNROLL
        for (int v = 0; v < @COUNT@; ++v)
            sums[k][v] = zero;
    }
    for (; channel + 4 <= part->channels; channel += 4) {
        GANPORT_UNROLL
        for (int k = 0; k < 4; ++k) {
            GANPORT_UNROLL
            for (int v = 0; v < @COUNT@; ++v) {
                @TYPE@ row_of_weights;
                memcpy(&row_of_weights, weights + v * (@LANES@ / @COUNT@), sizeof(@TYPE@));
                sums[k][v] += in[channel + k] * row_of_weights;
            }
            weights += part->width;
        }
    }
    for (; channel < part->channels; ++channel) {
        GANPORT_UNROLL
        for (int v = 0; v < @COUNT@; ++v) {
            @TYPE@ row_of_weights;
            memcpy(&row_of_weights, weights + v * (@LANES@ / @COUNT@), sizeof(@TYPE@));
            sums[0][v] += in[channel] * row_of_weights;
        }
        weights += part->width;
    }
    memcpy(lanes, part->bias != NULL ? part->bias : out, (size_t)part->outputs * sizeof(float));
    GANPORT_UNROLL
    for (int v = 0; v < @COUNT@; ++v) {
        float *const place = lanes + v * (@LANES@ / @COUNT@);
        @TYPE@ total;
        memcpy(&total, place, sizeof(@TYPE@));
        total += (sums[0][v] + sums[1][v]) + (sums[2][v] + sums[3][v]);
        memcpy(place, &total, sizeof(@TYPE@));
    }
    memcpy(out, lanes, (size_t)part->outputs * sizeof(float));
}
