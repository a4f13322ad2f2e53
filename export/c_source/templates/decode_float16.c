/* Turns rows of weights, stored as float16, into floats. A float16 has 5 bits of exponent and 10 of fraction:
   shifted to the place of a float's, it is too small by a factor of 2^112. */
static void ganport_decode(const ganport_weight *weights, const float *scales, int rows, int width)
{
    (void)scales;
    for (int i = 0; i < rows * width; ++i) {
        const uint32_t half = weights[i];
        const uint32_t bits = (half & 0x8000u) << 16 | (half & 0x7fffu) << 13;
        float value;
        memcpy(&value, &bits, sizeof value);
        ganport_decoded[i] = value * 5.192296858534828e33f;
    }
}
