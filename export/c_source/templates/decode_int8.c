/* Turns rows of weights, stored as int8 with one scale for each output channel, into floats. */
static void ganport_decode(const ganport_weight *weights, const float *scales, int rows, int width)
{
    float *decoded = ganport_decoded;
    for (int row = 0; row < rows; ++row) {
        for (int i = 0; i < width; ++i)
            decoded[i] = (float)weights[i] * scales[i];
        decoded += width;
        weights += width;
    }
}
