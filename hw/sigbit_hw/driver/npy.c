// Arrays in .npy files.
#include "npy.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { HEADER_MAX = 4096, ALIGN = 64, MAGIC_BYTES = 8 };

static const char MAGIC[] = "\x93NUMPY";

static const char *fields(const char *header, npy_array *array, char *kind, size_t *bytes)
{
    const char *descr = strstr(header, "'descr':"), *shape = strstr(header, "'shape':");
    if (!descr || !shape || !strstr(header, "'fortran_order': False"))
        return "must be an array in C order: np.ascontiguousarray makes one";
    char order;
    if (sscanf(descr, "'descr': '%c%c%zu'", &order, kind, bytes) != 3 || order == '>'
        || !((*kind == 'f' && (*bytes == 4 || *bytes == 8))
             || ((*kind == 'i' || *kind == 'u')
                 && (*bytes == 1 || *bytes == 2 || *bytes == 4 || *bytes == 8))))
        return "must hold little-endian integers, float32 or float64";
    const char *at = strchr(shape, '(');
    for (array->dimensions = 0; at && array->dimensions < NPY_AXES;) {
        char *end;
        unsigned long long value = strtoull(++at, &end, 10);
        if (end == at) break;
        array->shape[array->dimensions++] = (size_t)value;
        at = *end == ',' ? end : NULL;
        if (array->dimensions == NPY_AXES && at && strspn(at, ", ") && at[strspn(at, ", ")] != ')')
            return "must have up to four dimensions";
    }
    return NULL;
}

static int64_t integer(const uint8_t *at, char kind, size_t bytes)
{
    uint64_t value = 0;
    for (size_t i = 0; i < bytes; ++i) value |= (uint64_t)at[i] << 8 * i;
    const uint64_t sign = (uint64_t)1 << (8 * bytes - 1);
    if (kind == 'i') value = (value ^ sign) - sign;
    else if (bytes == 8 && value > INT64_MAX) value = INT64_MAX; // beyond any port's range
    return (int64_t)value;
}

static double real(const uint8_t *at, size_t bytes)
{
    float narrow;
    double wide;
    if (bytes == 8) return memcpy(&wide, at, 8), wide;
    return memcpy(&narrow, at, 4), (double)narrow;
}

static const char *values(FILE *file, npy_array *array, char kind, size_t bytes)
{
    size_t count = 1;
    uint8_t each[8];
    for (size_t i = 0; i < array->dimensions; ++i) {
        if (array->shape[i] && count > SIZE_MAX / 8 / array->shape[i]) return "is too large";
        count *= array->shape[i];
    }
    array->is_real = kind == 'f';
    array->integers = array->is_real ? NULL : malloc(count * sizeof *array->integers + 1);
    array->reals = array->is_real ? malloc(count * sizeof *array->reals + 1) : NULL;
    if (!array->integers && !array->reals) return "is too large for this machine's memory";
    for (size_t i = 0; i < count; ++i) {
        if (fread(each, bytes, 1, file) != 1) return "is truncated";
        if (array->is_real) array->reals[i] = real(each, bytes);
        else array->integers[i] = integer(each, kind, bytes);
    }
    return NULL;
}

static const char *read_array(FILE *file, npy_array *array)
{
    uint8_t start[MAGIC_BYTES + 4] = {0};
    char header[HEADER_MAX + 1] = {0}, kind = 0;
    size_t bytes = 0;
    if (fread(start, MAGIC_BYTES + 2, 1, file) != 1 || memcmp(start, MAGIC, sizeof MAGIC - 1) != 0)
        return "is no .npy file: np.save writes one";
    if (start[6] > 1 && fread(start + MAGIC_BYTES + 2, 2, 1, file) != 1) return "is truncated";
    size_t size = start[8] | (size_t)start[9] << 8 | (size_t)start[10] << 16 | (size_t)start[11] << 24;
    if (size > HEADER_MAX || fread(header, 1, size, file) != size) return "is truncated";
    const char *wrong = fields(header, array, &kind, &bytes);
    return wrong ? wrong : values(file, array, kind, bytes);
}

const char *npy_read(npy_array *array, const char *path)
{
    *array = (npy_array){0};
    FILE *file = fopen(path, "rb");
    if (!file) return strerror(errno);
    const char *wrong = read_array(file, array);
    fclose(file);
    if (wrong) npy_free(array);
    return wrong;
}

void npy_free(npy_array *array)
{
    free(array->integers);
    free(array->reals);
    *array = (npy_array){0};
}

const char *npy_write(const char *path, const npy_array *array)
{
    char header[2 * ALIGN + 1], text[2 * ALIGN - MAGIC_BYTES - 2], shape[ALIGN] = "";
    size_t count = 1, used = 0;
    for (size_t i = 0; i < array->dimensions; ++i) {
        int length = snprintf(shape + used, sizeof shape - used, "%zu, ", array->shape[i]);
        if (length < 0 || (used += (size_t)length) >= sizeof shape) return "the array is too large";
        count *= array->shape[i];
    }
    int length = snprintf(text, sizeof text, "{'descr': '<%c8', 'fortran_order': False, 'shape': (%s), }",
                          array->is_real ? 'f' : 'i', shape);
    if (length < 0 || (size_t)length >= sizeof text - 1) return "the array is too large";
    const size_t rest = sizeof header - 1 - MAGIC_BYTES - 2;
    memcpy(header, "\x93NUMPY\x01\x00", MAGIC_BYTES);
    header[8] = (char)(rest & 255), header[9] = (char)(rest >> 8);
    memset(header + 10, ' ', rest);
    memcpy(header + 10, text, (size_t)length);
    header[10 + rest - 1] = '\n';
    FILE *file = fopen(path, "wb");
    if (!file) return strerror(errno);
    const void *values = array->is_real ? (const void *)array->reals : (const void *)array->integers;
    int wrong = fwrite(header, sizeof header - 1, 1, file) != 1
             || fwrite(values, sizeof(int64_t), count, file) != count;
    wrong |= fclose(file) != 0;
    if (!wrong) return NULL;
    const char *why = strerror(errno);
    remove(path);
    return why;
}
