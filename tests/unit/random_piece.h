/* This Source Code Form is subject to the terms of the Mozilla Public License,
 * v. 2.0 (LICENSE). */

/* random_piece.h - pieces of random content, for tests and fuzz corpora */
#ifndef TESTS_RANDOM_PIECE_H
#define TESTS_RANDOM_PIECE_H

#include "proto/piece.h"
#include "tests/unit/random_msg.h"

/* Fill `piece` with what piece_decode takes. */
static inline void random_piece (random_t *r, piece_t *piece)
{
    memset (piece, 0, sizeof *piece);
    random_fill (r, piece->run, sizeof piece->run);
    piece->token = random_u64 (r);
    piece->epoch = (uint32_t) random_number (r);
    piece->position = random_number (r);
    piece->kind = (piece_kind_t) random_below (r, 3);
    piece->task = random_number (r);
    piece->attempt = 1 + (uint32_t) random_below (r, 5);
    piece->first = random_number (r) / 2;
    piece->stop = piece->first + random_number (r) / 2;
    piece->nparts = piece->kind == PIECE_DATA ? 1 : (size_t) random_below (r, 6);
    for (size_t i = 0; i < piece->nparts; i++) {
        part_t *part = &piece->parts[i];
        part->table = (uint32_t) random_below (r, MSG_MAX_TABLES + PIECE_MAX_LATE + 1);
        part->row = random_number (r) / 2;
        part->rows = 1 + random_below (r, 10000);
        part->bytes = part->rows * (1 + random_below (r, 100));
        part->xxh3 = random_number (r);
        if (piece->kind != PIECE_DONE && piece->nparts == 1 && part->bytes > 1 &&
            random_below (r, 2)) {
            part->deflated = part->bytes - 1 - random_below (r, part->bytes / 2);
            part->deflated_xxh3 = random_number (r);
        }
        piece->payload += part_payload (part);
    }
    static const char *const names[] = {"", "t", "deep/m\xc3\xbcll"},
                             *const dtypes[] = {"", "|u1", "{item:<u8, x:(3)<f8}"};
    piece->nlate = (size_t) random_below (r, 4);
    for (size_t i = 0; i < piece->nlate; i++)
        piece->late[i] = (late_t){.table = (uint32_t) (20 * i + random_below (r, 20)),
                                  .item = random_number (r),
                                  .name = names[random_below (r, 3)],
                                  .dtype = dtypes[random_below (r, 3)]};
    random_fill (r, piece->digest, sizeof piece->digest);
    piece->seconds = (double) random_below (r, 100000) / 1000;
    piece->cpu = (double) random_below (r, 100000) / 1000;
    piece->rss = random_number (r);
}

#endif
