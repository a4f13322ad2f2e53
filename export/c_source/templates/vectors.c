/* A vector is several floats that the processor multiplies and adds at once; without such instructions it is
   one float. A layer computes GANPORT_LANES output channels of GANPORT_PIXELS pixels at a time: their sums fit
   into the registers of the processor. */
#if defined(__GNUC__) && defined(__AVX512F__)
#define GANPORT_VECTOR 16
#define GANPORT_VECTORS 1
#define GANPORT_PIXELS 12
#elif defined(__GNUC__) && defined(__AVX__)
#define GANPORT_VECTOR 8
#define GANPORT_VECTORS 2
#define GANPORT_PIXELS 6
#elif defined(__GNUC__) && defined(__aarch64__)
#define GANPORT_VECTOR 4
#define GANPORT_VECTORS 4
#define GANPORT_PIXELS 5
#elif defined(__GNUC__) && (defined(__SSE2__) || defined(__ARM_NEON) || defined(__wasm_simd128__))
#define GANPORT_VECTOR 4
#define GANPORT_VECTORS 2
#define GANPORT_PIXELS 6
#else
#define GANPORT_VECTOR 1
#define GANPORT_VECTORS 4
#define GANPORT_PIXELS 4
#endif
#define GANPORT_LANES (GANPORT_VECTOR * GANPORT_VECTORS)

#if GANPORT_VECTOR > 1
typedef float ganport_vector __attribute__((vector_size(GANPORT_VECTOR * sizeof(float))));
//@if quad
typedef float ganport_quad __attribute__((vector_size(4 * sizeof(float))));
#define GANPORT_QUADS 1
//@end
#else
typedef float ganport_vector;
//@if quad
typedef float ganport_quad;
#define GANPORT_QUADS 4
//@end
#endif

/* The short loops over pixels and vectors must be unrolled, so that the sums stay in registers. */
#if defined(__clang__)
#define GANPORT_UNROLL _Pragma("unroll")
#elif defined(__GNUC__) && __GNUC__ >= 8
#define GANPORT_UNROLL _Pragma("GCC unroll 16")
#else
#define GANPORT_UNROLL
#endif
