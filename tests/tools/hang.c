/* This Source Code Form is subject to the terms of the Mozilla Public License,
 * v. 2.0 (LICENSE). */

/* hang - a file system whose server is gone
 *
 *   hang DIR
 *
 * Mounts a FUSE file system over DIR and answers none of its requests: whoever looks
 * at a path below waits, as with an NFS server that is down, until it is killed. Ends
 * with the end of standard input, or SIGTERM; DIR is then as before. Needs root;
 * exits with 77 where FUSE cannot be had.
 */
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/mount.h>
#include <unistd.h>

static void stop (int number)
{
    (void) number;
}

int main (int argc, char **argv)
{
    char options[100], byte;
    int fd = open ("/dev/fuse", O_RDWR | O_CLOEXEC);
    struct sigaction action = {.sa_handler = stop}; /* read ends with EINTR */
    sigaction (SIGTERM, &action, NULL);
    sigaction (SIGINT, &action, NULL);
    snprintf (options, sizeof options, "fd=%d,rootmode=40000,user_id=0,group_id=0", fd);
    if (argc != 2 || fd < 0 ||
        mount ("hang", argv[1], "fuse", MS_NOSUID | MS_NODEV, options)) {
        fprintf (stderr, "hang: %s: %s\n", argc == 2 ? argv[1] : "which folder?",
                 strerror (errno));
        return 77;
    }
    puts ("hangs");
    fflush (stdout);
    while (read (STDIN_FILENO, &byte, 1) > 0)
        ;
    int rc = umount2 (argv[1], MNT_DETACH);
    close (fd); /* whoever still waits gets an error */
    return rc ? 1 : 0;
}
