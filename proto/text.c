/* This Source Code Form is subject to the terms of the Mozilla Public License,
 * v. 2.0 (LICENSE). */

#include "proto/text.h"

#include <limits.h>
#include <poll.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

/* Length of the UTF-8 sequence at `s`, 0 if there is none (RFC 3629, section 4). */
static size_t utf8_sequence (const unsigned char *s, size_t n)
{
    if (s[0] < 0x80)
        return s[0] ? 1 : 0;
    unsigned char low = 0x80, high = 0xbf; /* what the second byte may be */
    size_t length;
    if (s[0] >= 0xc2 && s[0] <= 0xdf)
        length = 2;
    else if (s[0] >= 0xe0 && s[0] <= 0xef) {
        length = 3;
        if (s[0] == 0xe0)
            low = 0xa0;
        else if (s[0] == 0xed)
            high = 0x9f;
    } else if (s[0] >= 0xf0 && s[0] <= 0xf4) {
        length = 4;
        if (s[0] == 0xf0)
            low = 0x90;
        else if (s[0] == 0xf4)
            high = 0x8f;
    } else
        return 0;
    if (length > n || s[1] < low || s[1] > high)
        return 0;
    for (size_t i = 2; i < length; i++)
        if ((s[i] & 0xc0) != 0x80)
            return 0;
    return length;
}

bool text_is_utf8 (const char *text, size_t n)
{
    const unsigned char *s = (const unsigned char *) text;
    for (size_t at = 0; at < n;) {
        size_t length = utf8_sequence (s + at, n - at);
        if (length == 0)
            return false;
        at += length;
    }
    return true;
}

void text_make_utf8 (char *text)
{
    size_t n = strlen (text);
    for (size_t at = 0; at < n;) {
        size_t length = utf8_sequence ((unsigned char *) text + at, n - at);
        if (length == 0)
            text[at] = '?';
        at += length ? length : 1;
    }
}

void text_make_plain (char *text)
{
    for (unsigned char *c = (unsigned char *) text; *c; c++)
        if (*c < 0x20 || *c == 0x7f)
            *c = '?';
        else if (c[0] == 0xc2 && c[1] >= 0x80 && c[1] <= 0x9f) /* U+0080 to U+009F */
            c[0] = c[1] = '?';
}

void text_hex (const uint8_t *bytes, size_t n, char *text)
{
    static const char digits[] = "0123456789abcdef";
    for (size_t i = 0; i < n; i++) {
        text[2 * i] = digits[bytes[i] >> 4];
        text[2 * i + 1] = digits[bytes[i] & 15];
    }
    text[2 * n] = 0;
}

static int hex_value (char c)
{
    if (c >= '0' && c <= '9')
        return c - '0';
    if (c >= 'a' && c <= 'f')
        return c - 'a' + 10;
    if (c >= 'A' && c <= 'F')
        return c - 'A' + 10;
    return -1;
}

bool text_unhex (const char *text, size_t n, uint8_t *bytes)
{
    for (size_t i = 0; i < n; i++) {
        int high = hex_value (text[2 * i]);
        int low = high < 0 ? -1 : hex_value (text[2 * i + 1]);
        if (low < 0)
            return false;
        bytes[i] = (uint8_t) (high << 4 | low);
    }
    return true;
}

size_t text_number (const char *text, size_t n, uint64_t max, uint64_t *value)
{
    uint64_t sum = 0;
    size_t at = 0;
    for (; at < n && text[at] >= '0' && text[at] <= '9'; at++) {
        uint64_t digit = (uint64_t) (text[at] - '0');
        if (digit > max || sum > (max - digit) / 10)
            return 0;
        sum = 10 * sum + digit;
    }
    if (at > 0)
        *value = sum;
    return at;
}

void text_to_stderr (const char *text)
{
    struct pollfd fd = {.fd = STDERR_FILENO, .events = POLLOUT};
    size_t left = strlen (text);
    fflush (stderr);
    while (left > 0 && poll (&fd, 1, 0) == 1 && (fd.revents & POLLOUT)) {
        /* A pipe that has room has room for so much. */
        ssize_t n = write (STDERR_FILENO, text, left < PIPE_BUF ? left : PIPE_BUF);
        if (n <= 0)
            return;
        text += n;
        left -= (size_t) n;
    }
}
