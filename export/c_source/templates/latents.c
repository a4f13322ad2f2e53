/* Philox4x32-10 (Salmon et al., "Parallel random numbers: as easy as 1, 2, 3", SC 2011) turns the seed and the
   number of a block into four words. Each word gives two 16-bit numbers, the high half first. */
void ganport_latent(uint64_t seed, float *latent)
{
    for (int block = 0; 8 * block < GANPORT_LATENTS; ++block) {
        uint32_t first = (uint32_t)block, second = 0, third = 0, fourth = 0;
        uint32_t key = (uint32_t)(seed & 0xffffffffu), other_key = (uint32_t)(seed >> 32);
        uint32_t words[4];
        for (int round = 0; round < 10; ++round) {
            const uint64_t product = (uint64_t)0xd2511f53u * first, other = (uint64_t)0xcd9e8d57u * third;
            first = (uint32_t)(other >> 32) ^ second ^ key;
            second = (uint32_t)(other & 0xffffffffu);
            third = (uint32_t)(product >> 32) ^ fourth ^ other_key;
            fourth = (uint32_t)(product & 0xffffffffu);
            key += 0x9e3779b9u;
            other_key += 0xbb67ae85u;
        }
        words[0] = first;
        words[1] = second;
        words[2] = third;
        words[3] = fourth;
        for (int i = 0; i < 8 && 8 * block + i < GANPORT_LATENTS; ++i) {
            const uint32_t number = i % 2 == 0 ? words[i / 2] >> 16 : words[i / 2] & 0xffffu;
//@if normal
            /* Bit 15 is the sign. The next 12 bits choose a magnitude of the normal distribution. */
            const float magnitude = ganport_normal[number >> 3 & 0xfffu];
            latent[8 * block + i] = number >> 15 ? -magnitude : magnitude;
//@else
            /* The middle of one of 65,536 equal parts of the interval. Both steps are exact. */
            latent[8 * block + i] = (float)number * @SCALE@ + @OFFSET@;
//@end
        }
    }
}
