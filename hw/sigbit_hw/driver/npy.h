// Arrays in .npy files (NumPy's format, versions 1 to 3).
#pragma once

#include <stddef.h>
#include <stdint.h>

enum { NPY_AXES = 4 };

typedef struct {
    int is_real;
    int64_t *integers; // one of the two
    double *reals;
    size_t dimensions, shape[NPY_AXES];
} npy_array;

// Read up to four dimensions of integers, float32 or float64; return NULL, or what is wrong. Free it
// with npy_free.
const char *npy_read(npy_array *array, const char *path);
void npy_free(npy_array *array);

// Write an array as int64 or float64; return NULL, or what is wrong.
const char *npy_write(const char *path, const npy_array *array);
