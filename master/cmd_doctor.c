/* This Source Code Form is subject to the terms of the Mozilla Public License,
 * v. 2.0 (LICENSE). */

/* doctor: what is not as it should be, and what to do about it. */

#include "master/cmd.h"

#include <getopt.h>
#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "calc/vmath.h"
#include "master/doctor_share.h"
#include "master/progress.h"
#include "master/survey.h"
#include "proto/json.h"
#include "proto/machine.h"
#include "proto/text.h"

static const char HELP[] =
    "Usage: sluice doctor [DIR] [--key FILE] [--json]\n\n"
    "Look at the share around DIR (default: this folder), its key, the file server's\n"
    "clock, this machine and all nodes: what is right (ok), slower or less safe than\n"
    "it could be (warn), or broken (bad), and what to do about it. A share or a node\n"
    "that does not answer is not waited for. --json: one object.\n"
    "Exit status: 0 nothing is bad; 1 something is.\n";

enum {
    SHARE_MS = 5000,   /* for all that touches the share */
    LOOK_MS = 1500,    /* nodes announce themselves each second */
    ANSWER_MS = 5000,  /* who does not answer within this is not there */
    LAST_MS = 60000,   /* whatever happens, it is over then */
    STALE_MS = 20000,  /* a node that has not written its record for so long cannot */
    FILES_PER_NODE = 2 /* descriptors of a master */
};
static const double CLOCKS = 2; /* seconds that clocks may differ */

typedef enum { OK, WARN, BAD, LEVELS } level_t;
static const char *const level_names[] = {"ok", "warn", "bad"};

typedef struct {
    bool json;
    json_out_t out;
    unsigned count[LEVELS];
} doctor_t;

/* One finding. `remedy` ("": none) is what to do. */
static void say (doctor_t *self, level_t level, const char *about, const char *remedy,
                 const char *format, ...) __attribute__ ((format (printf, 5, 6)));
static void say (doctor_t *self, level_t level, const char *about, const char *remedy,
                 const char *format, ...)
{
    sluice_error_t text; /* for its checks: peers' words may be in it */
    char line[900];
    va_list args;
    va_start (args, format);
    vsnprintf (line, sizeof line, format, args);
    va_end (args);
    sluice_fail (&text, SLUICE_EINPUT, "%s", line);
    if (self->json) {
        json_add (&self->out, "%s{\"level\":\"%s\",\"about\":",
                  self->count[OK] + self->count[WARN] + self->count[BAD] ? "," : "",
                  level_names[level]);
        json_add_text (&self->out, about);
        json_add (&self->out, ",\"text\":");
        json_add_text (&self->out, text.text);
        json_add (&self->out, ",\"do\":");
        json_add_text (&self->out, remedy);
        json_add (&self->out, "}");
    } else {
        printf ("%-4s  %-12s  %s%s%s\n", level_names[level], about, text.text,
                *remedy ? "; " : "", remedy);
        fflush (stdout);
    }
    self->count[level]++;
}

/* ---- the share ------------------------------------------------------------------- */

static bool is_nfs (const char *type)
{
    return strncmp (type, "nfs", 3) == 0;
}

/* A word of a list with commas. */
static bool has_option (const char *options, const char *word)
{
    size_t n = strlen (word);
    for (const char *at = options; (at = strstr (at, word)); at += n)
        if ((at == options || at[-1] == ',') && (at[n] == ',' || at[n] == '\0'))
            return true;
    return false;
}

static void check_clock (doctor_t *self, const char *whose, double ahead)
{
    if (ahead > CLOCKS || ahead < -CLOCKS)
        say (self, WARN, whose,
             "Sluice compares no clocks, but people do, and make does: run an NTP client "
             "on both",
             "its clock is %.1f s %s this machine's", ahead > 0 ? ahead : -ahead,
             ahead > 0 ? "ahead of" : "behind");
    else
        say (self, OK, whose, "", "its clock is this machine's, within %.0f s", CLOCKS);
}

static void check_key (doctor_t *self, const share_report_t *r)
{
    if (!r->key_read) {
        say (self, BAD, "key", "nobody can join, run or ask without it", "%s",
             r->err.code ? r->err.text : "it cannot be read");
        return;
    }
    if (is_nfs (r->key_type) && !has_option (r->key_options, "sec=krb5p"))
        say (self, WARN, "key",
             "mount with sec=krb5p, or keep it elsewhere: sluice key --new FILE, a copy "
             "on each machine, and --key FILE or $SLUICE_KEY",
             "%s lies on plain NFS and crosses the network in clear: whoever listens "
             "there, or can mount the share, is a member",
             r->key_path);
    else
        say (self, OK, "key", "", "%s, mode %04o, on %s", r->key_path,
             (unsigned) r->key_mode, *r->key_type ? r->key_type : "?");
}

/* False: there is nothing further to look at. */
static bool check_share (doctor_t *self, const share_report_t *r, bool answered,
                         const char *where)
{
    char id[2 * SHARE_ID_BYTES + 1];
    if (!answered) {
        say (self, BAD, "share",
             "is its file server up, and this machine's network? Nothing that needs the "
             "share goes on until it answers",
             "%s does not answer within %d s: it hangs in %s", *r->root ? r->root : where,
             SHARE_MS / 1000, r->step);
        return false;
    }
    if (!r->found) {
        say (self, BAD, "share", "make one with: sluice init DIR", "%s%s",
             r->err.code ? r->err.text : where,
             r->err.code ? "" : ": no share here or above");
        return false;
    }
    text_hex (r->id, SHARE_ID_BYTES, id);
    say (self, OK, "share", "", "%s, id %.8s, on %s (%s); answers in %.0f ms", r->root,
         id, r->type, r->source, r->seconds * 1e3);
    if (r->written)
        check_clock (self, "file server", r->ahead);
    else
        say (self, BAD, "share",
             "nodes and runs are found through it: mount it for writing, or give this "
             "user the right to",
             "%s/.sluice/nodes cannot be written: %s", r->root,
             strerror (r->write_errno));
    check_key (self, r);
    return r->key_read;
}

/* ---- machines -------------------------------------------------------------------- */

static void check_machine (doctor_t *self, const char *whose, const machine_t *m)
{
    char swap[16], used[16];
    if (m->swap)
        say (self, WARN, whose,
             m->swapped ? "swapoff -a, and give workers less: --memory"
                        : "swapoff -a: without it a worker that needs too much fails at "
                          "once, alone",
             "swap of %s is configured (%s in use): a worker that needs too much memory "
             "makes the whole machine slow instead of failing",
             human_bytes ((double) m->swap, swap),
             human_bytes ((double) m->swapped, used));
    if (!m->landlock)
        say (self, WARN, whose, "Linux 5.13 or newer, with lsm=landlock,... at boot",
             "no Landlock (Linux %s): kernels are not kept from writing elsewhere than "
             "to their scratch folder",
             m->system);
    if (!m->openat2)
        say (self, WARN, whose, "Linux 5.6 or newer",
             "no openat2 (Linux %s): paths in the share are walked step by step, and "
             "links in it are not followed",
             m->system);
    if (!m->seals)
        say (self, BAD, whose, "Linux 3.17 or newer, and a /dev/shm",
             "no sealed memory (memfd): workers cannot hand results over");
    if (!m->fma)
        say (self, WARN, whose, "the same results come from slower code; nothing to do",
             "its processor has no AVX2 and FMA, or does not show them to this machine");
}

static void check_here (doctor_t *self)
{
    machine_t m;
    sluice_error_t err = {0};
    machine_look (&m);
    const char *isa = vm_init (&err) == 0 ? vm_isa_name () : "?";
    say (self, OK, "this machine", "",
         "sluice %s, Linux %s, built-in kernels use %s, Landlock %s, openat2 %s",
         m.version, m.system, isa, m.landlock ? "yes" : "no", m.openat2 ? "yes" : "no");
    if (m.files < 4096)
        say (self, WARN, "this machine", "raise the hard limit: ulimit -Hn, limits.conf",
             "a process may have %" PRIu64 " descriptors: a run here can use %" PRIu64
             " nodes at most",
             m.files, m.files > 64 ? (m.files - 64) / FILES_PER_NODE : 1);
    check_machine (self, "this machine", &m);
}

static void check_node (doctor_t *self, const surveyed_node_t *node, const char *version)
{
    const char *a = node->answer, *host = node->found.host;
    char ports[32] = "", isa[32] = "";
    machine_t m;
    if (!a || !json_is_sound (a)) {
        say (self, BAD, host,
             "is it up, and is the port open in its firewall? sluice node --ports A-B "
             "keeps it to ports that are",
             "%s (known by its %s) does not answer within %d s", node->found.endpoint,
             node->found.by_beacon ? "broadcast" : "record in the share",
             ANSWER_MS / 1000);
        return;
    }
    machine_read (&m, a);
    json_string (json_member (a, "ports"), ports, sizeof ports);
    json_string (json_member (a, "isa"), isa, sizeof isa);
    say (self, OK, host, "",
         "%s, %u slots, Linux %s, uses %s, ports %s, answers in %.0f ms; found by %s",
         node->found.endpoint, node->found.slots, m.system, isa,
         !*ports || strcmp (ports, "0-0") == 0 ? "any" : ports,
         (double) (node->answered - node->asked),
         node->found.by_beacon ? "broadcast" : "the share alone (another subnet?)");
    if (strcmp (m.version, version) != 0)
        say (self, BAD, host, "install the same version on all machines",
             "it has sluice %s, this machine %s", *m.version ? m.version : "of old",
             version);
    double age = json_number (json_member (a, "share_age"));
    if (age > STALE_MS)
        say (self, BAD, host, "see its mount, and what `sluice node' says there",
             "it has written nothing to the share for %.0f s: it hangs there, or is not "
             "writable",
             age * 1e-3);
    if (m.clock > 0)
        check_clock (self, host, m.clock - (double) node->clock);
    check_machine (self, host, &m);
}

static void check_nodes (doctor_t *self, const share_report_t *r)
{
    sluice_error_t err = {0};
    machine_t m;
    cluster_t *cluster = cluster_new (r->key, &err);
    share_t *share = share_open (r->root, &err);
    survey_t *survey = share && cluster ? survey_new (share, cluster, &err) : NULL;
    machine_look (&m);
    if (cluster)
        say (self, OK, "key", "", "fingerprint %s", cluster_fingerprint (cluster));
    if (!survey || survey_nodes (survey, &err))
        say (self, BAD, "nodes", "", "%s", err.text);
    else {
        survey_wait (survey, LOOK_MS, false);
        survey_wait (survey, ANSWER_MS, true);
        for (size_t i = 0; i < survey_node_count (survey); i++)
            check_node (self, survey_node (survey, i), m.version);
        if (survey_node_count (survey) == 0)
            say (self, WARN, "nodes", "on each machine: sluice node DIR",
                 "none is there");
        for (size_t i = 0; i < survey_size (survey); i++)
            if (survey_at (survey, i)->registered && survey_at (survey, i)->record.dead)
                say (self, WARN, "runs", "sluice cancel ends it and tidies up",
                     "the master of run %.8s (%s) has died",
                     survey_at (survey, i)->record.run,
                     survey_at (survey, i)->record.job);
    }
    survey_destroy (&survey);
    cluster_destroy (&cluster);
    share_destroy (&share);
}

int cmd_doctor (int argc, char **argv)
{
    const char *key = NULL;
    doctor_t self = {0};
    int status = cmd_options (
        argc, argv, HELP,
        (cmd_option_t[]){{"key", .value = &key}, {"json", .flag = &self.json}, {0}});
    if (status >= 0)
        return status;
    if (optind + 1 < argc)
        return cmd_usage ("doctor", "one folder is enough: '%s' is one too many",
                          argv[optind + 1]);
    if (!key)
        key = getenv ("SLUICE_KEY");
    const char *where = optind < argc ? argv[optind] : ".";
    static share_report_t report;
    alarm (LAST_MS / 1000);
    if (self.json) {
        json_begin (&self.out, 16 << 20);
        json_add (&self.out, "{\"findings\":[");
    }
    check_here (&self);
    bool answered = doctor_share (where, key && *key ? key : NULL, SHARE_MS, &report);
    if (check_share (&self, &report, answered, where))
        check_nodes (&self, &report);
    explicit_bzero (report.key, sizeof report.key);
    if (self.json) {
        json_add (&self.out, "],\"ok\":%u,\"warn\":%u,\"bad\":%u}", self.count[OK],
                  self.count[WARN], self.count[BAD]);
        char *text = json_end (&self.out);
        if (text)
            puts (text);
        free (text);
    } else {
        printf ("%u ok, %u to think about, %u bad\n", self.count[OK], self.count[WARN],
                self.count[BAD]);
    }
    return self.count[BAD] ? SLUICE_EFAILED : SLUICE_OK;
}
