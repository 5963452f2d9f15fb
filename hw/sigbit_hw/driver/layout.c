// Memory layout of a Program's inputs and outputs. The reference is sigbit_hw.arch.program_parts:
// these functions give the same bytes and integers without knowledge of number formats: the caller
// passes the codes of all stored integers, and the values of all codes.
//
// Packing has two steps. Every row of the image becomes, digit by digit, a stream of lanes in the
// order [x][channel], with its border. The lanes of a window's row are consecutive in a stream, so
// a word of a slot consists of a few pieces of streams: masked, shifted, combined. Streams are
// stored as many times as a byte has lanes, each time shifted by one more lane, so that every piece
// begins at a byte.

#include "layout.h"

#include <stdlib.h>
#include <string.h>

#if __BYTE_ORDER__ != __ORDER_LITTLE_ENDIAN__
#error "images are little-endian"
#endif

enum { WORD = 8, SPARE = 3, MOST_PLANES = 4 }; // Bytes read at a time; codes after a row.

// Bits [first, first + count) of the stream of window row `tap`, for bits from `shift` on of the
// word `unit` of the pixel.
typedef struct {
    size_t unit, tap, first;
    unsigned shift;
    uint64_t mask;
} piece;

// Position of streams: [shift][plane][row][bytes]; the row after those of the image is the border.
typedef struct {
    size_t lanes, width, bytes, rows, whole;
    uint8_t *data;
} streams;

static inline size_t lane_bits(const sigbit_layout *p) { return (size_t)p->lane_bits; }

static inline size_t slot_bytes(const sigbit_layout *p)
{
    return (size_t)p->lanes * lane_bits(p) / 8;
}

static inline size_t row_of(const streams *s, size_t plane, size_t row)
{
    return (plane * s->rows + row) * s->bytes;
}

static streams sizes(const sigbit_layout *p)
{
    streams s = {.lanes = 8 / lane_bits(p), .rows = (size_t)p->height + 1};
    size_t reach = (size_t)((p->out_width - 1) * p->stride_x + (p->kernel_x - 1) * p->dilation_x + 1);
    size_t image = (size_t)(p->left + p->width);
    s.width = reach > image ? reach : image;
    s.bytes = (s.width * (size_t)p->channels * lane_bits(p) + 7) / 8 + WORD;
    s.whole = (size_t)p->planes * s.rows * s.bytes;
    return s;
}

#define ENCODE(TYPE)                                                                  \
    for (size_t x = 0; x < width; ++x) {                                              \
        uint64_t index = (uint64_t)((int64_t)((const TYPE *)from)[x] - p->low);       \
        uint32_t code = index < size ? table[index] : SIGBIT_NO_CODE;                 \
        to[x * channels] = code;                                                      \
        wrong |= code;                                                                \
    }                                                                                 \
    break

// Codes of one channel of a row, into `to` [x][channel]; returns true if one is missing.
static uint32_t encode_line(const sigbit_layout *p, const uint32_t *table, const void *from,
                            uint32_t *to)
{
    const uint64_t size = (uint64_t)((int64_t)p->high - p->low) + 1;
    const size_t width = (size_t)p->width, channels = (size_t)p->channels;
    uint32_t wrong = 0;
    switch (p->element) {
    case SIGBIT_INT8: ENCODE(int8_t);
    case SIGBIT_UINT8: ENCODE(uint8_t);
    case SIGBIT_INT16: ENCODE(int16_t);
    case SIGBIT_INT32: ENCODE(int32_t);
    default: ENCODE(int64_t);
    }
    return wrong & SIGBIT_NO_CODE;
}

static const size_t ELEMENT_BYTES[] = {
    [SIGBIT_INT8] = 1, [SIGBIT_UINT8] = 1, [SIGBIT_INT16] = 2, [SIGBIT_INT32] = 4, [SIGBIT_INT64] = 8,
};

// Bytes of `lanes` codes each, of all planes at once: a code has a byte for each plane.
static void bytes_of(const uint32_t *codes, size_t lanes, size_t bits, uint8_t *const *to,
                     size_t planes, size_t count)
{
    for (size_t b = 0; b < count; ++b, codes += lanes) {
        uint32_t all = 0;
        for (size_t lane = 0; lane < lanes; ++lane) all |= codes[lane] << lane * bits;
        for (size_t plane = 0; plane < planes; ++plane) to[plane][b] = (uint8_t)(all >> 8 * plane);
    }
}

// A row's codes, and SPARE more, as streams of all planes and shifts.
static void stream_row(const sigbit_layout *p, const streams *s, const uint32_t *codes, size_t row)
{
    const size_t bits = lane_bits(p), planes = (size_t)p->planes;
    const size_t count = (s->width * (size_t)p->channels + s->lanes - 1) / s->lanes;
    uint8_t *to[MOST_PLANES] = {0};
    for (size_t plane = 0; plane < planes; ++plane) to[plane] = s->data + row_of(s, plane, row);
    if (bits == 4 && planes == 3)
        bytes_of(codes, 2, 4, to, 3, count);
    else
        bytes_of(codes, s->lanes, bits, to, planes, count);
    for (size_t shift = 1; shift < s->lanes; ++shift)
        for (size_t plane = 0; plane < planes; ++plane) {
            const uint8_t *from = to[plane];
            uint8_t *moved = s->data + shift * s->whole + row_of(s, plane, row);
            for (size_t b = 0; b + 1 < s->bytes; ++b)
                moved[b] = (uint8_t)((from[b] | from[b + 1] << 8) >> shift * bits);
        }
}

static int32_t stream_image(const sigbit_layout *p, const streams *s, const uint32_t *table,
                            const void *stored)
{
    const size_t channels = (size_t)p->channels, height = (size_t)p->height;
    const size_t line = (size_t)p->width * ELEMENT_BYTES[p->element];
    uint32_t *codes = calloc(s->width * channels + SPARE, sizeof *codes), wrong = 0;
    if (!codes) return SIGBIT_NO_MEMORY;
    for (size_t i = 0; i < s->width * channels; ++i) codes[i] = table[p->border - p->low];
    stream_row(p, s, codes, height);
    for (size_t y = 0; y < height && !wrong; ++y) {
        for (size_t c = 0; c < channels; ++c)
            wrong |= encode_line(p, table, (const uint8_t *)stored + (c * height + y) * line,
                                 codes + (size_t)p->left * channels + c);
        stream_row(p, s, codes, y);
    }
    free(codes);
    return wrong ? SIGBIT_NO_SUCH_CODE : SIGBIT_DONE;
}

// The pieces of a pixel in words of `bits`, at most one per lane; returns their number.
static size_t pieces_of(const sigbit_layout *p, size_t bits, piece *to)
{
    const size_t channel_bits = (size_t)p->channels * lane_bits(p);
    const int joined = p->dilation_x == 1;
    const size_t runs = joined ? 1 : (size_t)p->kernel_x;
    const size_t length = channel_bits * (joined ? (size_t)p->kernel_x : 1);
    size_t at = 0, count = 0;
    for (size_t tap = 0; tap < (size_t)p->kernel_y; ++tap)
        for (size_t run = 0; run < runs; ++run)
            for (size_t done = 0; done < length;) {
                size_t room = bits - at % bits, part = length - done < room ? length - done : room;
                to[count++] = (piece){
                    .unit = at / bits,
                    .tap = tap,
                    .first = run * (size_t)p->dilation_x * channel_bits + done,
                    .shift = (unsigned)(at % bits),
                    .mask = part < 64 ? ((uint64_t)1 << part) - 1 : UINT64_MAX,
                };
                done += part;
                at += part;
            }
    return count;
}

#define PLACE(TYPE, BYTES, KEPT)                                                      \
    for (size_t i = 0; i < count; ++i, from += step, to += stride) {                  \
        uint64_t word;                                                                \
        TYPE sum;                                                                     \
        memcpy(&word, from, WORD);                                                    \
        memcpy(&sum, to, BYTES);                                                      \
        sum = (TYPE)((KEPT) | (word & mask) << shift);                                \
        memcpy(to, &sum, BYTES);                                                      \
    }                                                                                 \
    break

// Put a piece into the words of `count` pixels, `stride` bytes apart; their streams are `step`. The
// first piece of a word replaces the previous content.
static void place(uint8_t *to, size_t stride, size_t bytes, const uint8_t *from, size_t step,
                  size_t count, uint64_t mask, unsigned shift)
{
    switch (shift ? bytes : bytes + 8) {
    case 1: PLACE(uint8_t, 1, sum);
    case 2: PLACE(uint16_t, 2, sum);
    case 4: PLACE(uint32_t, 4, sum);
    case 8: PLACE(uint64_t, 8, sum);
    case 9: PLACE(uint8_t, 1, 0u);
    case 10: PLACE(uint16_t, 2, 0u);
    case 12: PLACE(uint32_t, 4, 0u);
    default: PLACE(uint64_t, 8, 0u);
    }
}

// One row of one plane.
static void pack_row(const sigbit_layout *p, const streams *s, const piece *pieces, size_t count,
                     const size_t *taps, uint8_t *to)
{
    const size_t slot = slot_bytes(p), bytes = slot < WORD ? slot : WORD, words = slot / bytes;
    const size_t columns = (size_t)p->columns, phases = (size_t)p->phases, lanes = s->lanes;
    const size_t pixel_bits = (size_t)(p->stride_x * p->channels) * lane_bits(p);
    for (size_t i = 0; i < count; ++i) {
        const piece *part = &pieces[i];
        uint8_t *block = to + part->unit / words * phases * columns * slot + part->unit % words * bytes;
        for (size_t phase = 0; phase < phases; ++phase)
            for (size_t column = 0; column < columns && column < lanes; ++column) {
                size_t x = column * phases + phase, width = (size_t)p->out_width;
                if (x >= width) break;
                size_t bit = x * pixel_bits + part->first;
                const uint8_t *from = s->data + bit % 8 / lane_bits(p) * s->whole + taps[part->tap] + bit / 8;
                place(block + (phase * columns + column) * slot, lanes * slot, bytes, from,
                     lanes * phases * pixel_bits / 8, (width - x + lanes * phases - 1) / (lanes * phases),
                     part->mask, part->shift);
            }
    }
}

static void pack_streams(const sigbit_layout *p, const streams *s, const piece *pieces,
                         size_t count, size_t *taps, uint8_t *to)
{
    const size_t row_bytes = (size_t)(p->blocks * p->phases * p->columns) * slot_bytes(p);
    const size_t slot = slot_bytes(p), words = (size_t)p->blocks * (slot < WORD ? 1 : slot / WORD);
    const int padded = pieces[count - 1].unit + 1 < words || p->phases * p->columns > p->out_width;
    for (int32_t y = 0; y < p->out_height; ++y)
        for (size_t plane = 0; plane < (size_t)p->planes; ++plane, to += row_bytes) {
            for (int32_t tap = 0; tap < p->kernel_y; ++tap) {
                int32_t row = y * p->stride_y + tap * p->dilation_y - p->top;
                int inside = row >= 0 && row < p->height;
                taps[tap] = row_of(s, plane, (size_t)(inside ? row : p->height));
            }
            if (padded) memset(to, 0, row_bytes);
            pack_row(p, s, pieces, count, taps, to);
        }
}

int32_t sigbit_pack(const sigbit_layout *p, const uint32_t *table, const void *stored, uint8_t *to)
{
    const size_t slot = slot_bytes(p), word = 8 * (slot < WORD ? slot : WORD);
    streams s = sizes(p);
    size_t *taps = malloc((size_t)p->kernel_y * sizeof *taps);
    piece *pieces = malloc((size_t)p->blocks * (size_t)p->lanes * sizeof *pieces);
    s.data = calloc(s.lanes, s.whole);
    int32_t status = taps && pieces && s.data ? stream_image(p, &s, table, stored) : SIGBIT_NO_MEMORY;
    if (status == SIGBIT_DONE) {
        size_t used = (size_t)(p->out_height * p->planes * p->blocks * p->phases * p->columns) * slot;
        pack_streams(p, &s, pieces, pieces_of(p, word, pieces), taps, to);
        memset(to + used, 0, (size_t)p->bytes - used);
    }
    free(s.data);
    free(pieces);
    free(taps);
    return status;
}

// Add the contribution of one plane to the integers of a channel in a row; returns true if a code has no
// value.
static int add_plane(const sigbit_layout *p, const int64_t *values, const uint8_t *from,
                     size_t down, int64_t *to)
{
    const size_t slot = slot_bytes(p), phases = (size_t)p->phases, width = (size_t)p->out_width;
    const unsigned mask = (1u << p->lane_bits) - 1;
    int wrong = 0;
    for (size_t phase = 0; phase < phases; ++phase, from += (size_t)p->columns * slot) {
        const uint8_t *at = from;
        for (size_t x = phase; x < width; x += phases, at += slot) {
            int64_t value = values[*at >> down & mask];
            wrong |= value == SIGBIT_NO_VALUE;
            to[x] = (int64_t)((uint64_t)to[x] + (uint64_t)value);
        }
    }
    return wrong;
}

int32_t sigbit_unpack(const sigbit_layout *p, const int64_t *values, const uint8_t *from,
                      int64_t *stored)
{
    const size_t block = (size_t)(p->phases * p->columns) * slot_bytes(p);
    const size_t channels = (size_t)p->out_channels, height = (size_t)p->out_height;
    const size_t width = (size_t)p->out_width, planes = (size_t)p->planes;
    const size_t each = 8 / lane_bits(p), lanes = (size_t)p->lanes;
    int wrong = 0;
    memset(stored, 0, channels * height * width * sizeof *stored);
    for (size_t y = 0; y < height; ++y)
        for (size_t plane = 0; plane < planes; ++plane, from += (size_t)p->blocks * block)
            for (size_t c = 0; c < channels; ++c) {
                size_t lane = c % lanes;
                wrong |= add_plane(p, values + (plane << p->lane_bits),
                                   from + c / lanes * block + lane / each,
                                   lane % each * lane_bits(p), stored + (c * height + y) * width);
            }
    return wrong ? SIGBIT_NO_SUCH_CODE : SIGBIT_DONE;
}
