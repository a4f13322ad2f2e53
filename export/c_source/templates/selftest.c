#ifdef GANPORT_SELFTEST
#include <stdio.h>

@GOLDEN@

/* Returns 0 if the golden images agree: at most 1 of 10,000 values differs, or 4 values, each by one level. */
int main(void)
{
    static float latent[GANPORT_LATENTS];
    static uint8_t image[GANPORT_IMAGE_SIZE];
    long differing = 0, total = 0;
    int largest = 0, passed;
    for (int i = 0; i < @IMAGES@; ++i) {
        ganport_latent(ganport_golden_seeds[i], latent);
        ganport_generate(latent, ganport_golden_labels[i], image);
        for (int j = 0; j < GANPORT_IMAGE_SIZE; ++j) {
            const int difference = image[j] - ganport_golden_images[i][j];
            const int distance = difference < 0 ? -difference : difference;
            differing += distance != 0;
            largest = distance > largest ? distance : largest;
            ++total;
        }
    }
    passed = largest <= 1 && (differing <= 4 || differing * 10000 <= total);
    printf("%d golden images: %ld of %ld values differ, largest difference %d: %s\n", @IMAGES@, differing, total,
           largest, passed ? "passed" : "FAILED");
    return passed ? 0 : 1;
}
#endif
