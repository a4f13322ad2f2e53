/* Adds a part of a kernel to @COUNT@ vectors of output channels of each pixel. Pixels outside of the image
   are zeros. */
static void ganport_convolve_@NAME@(const ganport_layer *layer, const ganport_part *part, const float *in,
                                    float *out)
{
    const int count = layer->rows * layer->columns;
    int row = 0, column = 0;
    for (int first = 0; first < count; first += GANPORT_PIXELS) {
        @TYPE@ sums[GANPORT_PIXELS][@COUNT@];
        float *targets[GANPORT_PIXELS];
        int rows[GANPORT_PIXELS], columns[GANPORT_PIXELS];
        const float *weights = part->weights;
        for (int p = 0; p < GANPORT_PIXELS; ++p) {
            rows[p] = row * layer->row_stride;
            columns[p] = column * layer->column_stride;
            targets[p] = out + row * layer->out_row_step + column * layer->out_column_step;
            if (first + p + 1 < count && ++column == layer->columns) {  /* the last pixel is repeated */
                column = 0;
                ++row;
            }
        }
        GANPORT_UNROLL
        for (int p = 0; p < GANPORT_PIXELS; ++p) {
            float some[@LANES@] = {0};
            const float *lanes = part->bias != NULL ? part->bias : targets[p];
            if (part->bias == NULL && part->outputs < @LANES@) {
                memcpy(some, targets[p], (size_t)part->outputs * sizeof(float));
                lanes = some;
            }
            GANPORT_UNROLL
            for (int v = 0; v < @COUNT@; ++v)
                memcpy(&sums[p][v], lanes + v * (@LANES@ / @COUNT@), sizeof(@TYPE@));
        }
        for (int tap = part->first_tap; tap < part->last_tap; ++tap) {
            const float *points[GANPORT_PIXELS];
            int inside = 0;
            for (int p = 0; p < GANPORT_PIXELS; ++p) {
                const int y = rows[p] + layer->taps[2 * tap], x = columns[p] + layer->taps[2 * tap + 1];
                points[p] = ganport_zeros;
                if (y >= 0 && y < layer->height && x >= 0 && x < layer->width) {
                    points[p] = in + y * layer->row_step + x * layer->column_step + part->first_channel;
                    inside = 1;
                }
            }
            if (!inside) {
                weights += part->channels * part->width;
                continue;
            }
            for (int channel = 0; channel < part->channels; ++channel) {
                @TYPE@ row_of_weights[@COUNT@];
                GANPORT_UNROLL
                for (int v = 0; v < @COUNT@; ++v)
                    memcpy(&row_of_weights[v], weights + v * (@LANES@ / @COUNT@), sizeof(@TYPE@));
                GANPORT_UNROLL
                for (int p = 0; p < GANPORT_PIXELS; ++p) {
                    GANPORT_UNROLL
                    for (int v = 0; v < @COUNT@; ++v)
                        sums[p][v] += points[p][channel] * row_of_weights[v];
                }
                weights += part->width;
            }
        }
        GANPORT_UNROLL
        for (int p = 0; p < GANPORT_PIXELS; ++p) {
            float some[@LANES@];
            float *const lanes = part->outputs < @LANES@ ? some : targets[p];
            GANPORT_UNROLL
            for (int v = 0; v < @COUNT@; ++v)
                memcpy(lanes + v * (@LANES@ / @COUNT@), &sums[p][v], sizeof(@TYPE@));
            if (part->outputs < @LANES@)
                memcpy(targets[p], some, (size_t)part->outputs * sizeof(float));
        }
    }
}
