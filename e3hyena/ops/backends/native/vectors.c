/* One vector of real or complex numbers, from memory and to it.

   Before this text stand the scalar T, L numbers of it in a vector V, and the integer vectors EVEN,
   ODD, LOW and HIGH that take pairs of real and imaginary parts apart and together. Around a macro
   stand `full`, whether all lanes are there, and `rest`, how many are. */

#define LOAD1(v, p) if (full) v = *(const V *)(p); else { T t[L] = {0}; \
    memcpy(t, p, rest * sizeof(T)); v = *(const V *)t; }
#define LOAD2(re, im, p) { V s, u; if (full) { s = *(const V *)(p); u = *(const V *)((p) + L); } \
    else { T t[2 * L] = {0}; memcpy(t, p, 2 * rest * sizeof(T)); \
    s = *(const V *)t; u = *(const V *)(t + L); } \
    re = __builtin_shuffle(s, u, EVEN); im = __builtin_shuffle(s, u, ODD); }
#define STORE1(p, v) if (full) *(V *)(p) = v; else { V t = v; memcpy(p, &t, rest * sizeof(T)); }
#define STORE2(p, re, im) { V s = __builtin_shuffle(re, im, LOW), \
    u = __builtin_shuffle(re, im, HIGH); if (full) { *(V *)(p) = s; *(V *)((p) + L) = u; } \
    else { T t[2 * L]; *(V *)t = s; *(V *)(t + L) = u; memcpy(p, t, 2 * rest * sizeof(T)); } }
