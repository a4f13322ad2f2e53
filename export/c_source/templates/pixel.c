/* Returns a value in [-1, 1] as a level in [0, 255], rounded half to even. Around 1.5 * 2^23 the floats are the
   whole numbers, so the processor rounds the sum, and its lowest bits are the level. */
static uint8_t ganport_pixel(float value)
{
    const float level = (value + 1.0f) * 127.5f;
    const float clipped = level > 0.0f ? (level < 255.0f ? level : 255.0f) : 0.0f;
    const float shifted = clipped + 12582912.0f;
    uint32_t bits;
    memcpy(&bits, &shifted, sizeof bits);
    return (uint8_t)(bits & 0xffu);
}
