/* This Source Code Form is subject to the terms of the Mozilla Public License,
 * v. 2.0 (LICENSE). */

/* xxh3.h - XXH3 with the widest instructions that the CPU has
 *
 * libxxhash's functions are compiled for the least x86-64 CPU: 14 GB/s. Where the
 * library was built with its dispatching functions, too (Debian's is), the names
 * XXH3_64bits, XXH3_128bits_update and so on stand for those: 40 GB/s with AVX2 or
 * AVX-512. The values are the same.
 */
#ifndef PROTO_XXH3_H
#define PROTO_XXH3_H

#include <xxhash.h>
#ifdef HAVE_XXH_DISPATCH
#include <xxh_x86dispatch.h>
#endif

#endif
