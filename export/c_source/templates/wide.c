/* Computes a layer. Its output channels are stored in blocks of 16, each with all rows of the kernel. */
static void ganport_wide(const ganport_layer *layer, const ganport_weight *weights, const float *scales,
                         const float *bias, const float *in, float *out)
{
    for (int block = 0; block < layer->outputs; block += 16) {
        const int rest = (layer->outputs - block + 3) / 4 * 4, width = rest < 16 ? rest : 16;
        ganport_part part;
        part.width = width;
        part.first_tap = part.first_channel = 0;
        do {
            int lane = 0;
//@if decoded
            const int taps = GANPORT_ROWS / layer->channels, left = layer->tap_count - part.first_tap;
            part.last_tap = part.first_tap + (taps < 1 ? 1 : taps);
            if (part.last_tap > layer->tap_count)
                part.last_tap = part.first_tap + left;
            part.channels = layer->channels - part.first_channel;
            if (part.channels > GANPORT_ROWS)
                part.channels = GANPORT_ROWS;
            ganport_decode(weights, scales + block, (part.last_tap - part.first_tap) * part.channels, width);
            part.weights = ganport_decoded;
//@else
            (void)scales;
            part.last_tap = layer->tap_count;
            part.channels = layer->channels;
            part.weights = weights;
//@end
            weights += (part.last_tap - part.first_tap) * part.channels * width;
            part.bias = part.first_tap == 0 && part.first_channel == 0 ? bias + block : NULL;
            for (; lane + GANPORT_LANES <= width; lane += GANPORT_LANES) {
                part.outputs = layer->outputs - block - lane;
                if (part.outputs > GANPORT_LANES)
                    part.outputs = GANPORT_LANES;
//@if convolution
                if (layer->rows * layer->columns > 1 || layer->tap_count != 1)
                    ganport_convolve_lanes(layer, &part, in, out + block + lane);
//@if dense
                else
//@end
//@end
//@if dense
                {
                    ganport_dense_lanes(&part, in, out + block + lane);
                }
//@end
                part.weights += GANPORT_LANES;
                if (part.bias != NULL)
                    part.bias += GANPORT_LANES;
            }
//@if quad
            for (; lane < width; lane += 4) {
                part.outputs = layer->outputs - block - lane;
                if (part.outputs > 4)
                    part.outputs = 4;
//@if convolution
                if (layer->rows * layer->columns > 1 || layer->tap_count != 1)
                    ganport_convolve_quad(layer, &part, in, out + block + lane);
//@if dense
                else
//@end
//@end
//@if dense
                {
                    ganport_dense_quad(&part, in, out + block + lane);
                }
//@end
                part.weights += 4;
                if (part.bias != NULL)
                    part.bias += 4;
            }
//@end
            part.first_channel += part.channels;
            if (part.first_channel == layer->channels) {
                part.first_channel = 0;
                part.first_tap = part.last_tap;
            }
        } while (part.first_tap < layer->tap_count);
    }
}
