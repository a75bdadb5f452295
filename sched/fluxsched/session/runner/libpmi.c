// SPDX-FileCopyrightText: 2026 The flux-sched authors
// SPDX-License-Identifier: LGPL-3.0-or-later
//
// PMI-1 as a library, over the lines that pmi.py answers, for MPI libraries that do not write these lines themselves:
// Open MPI before version 5 opens the file that FLUX_PMI_LIBRARY_PATH names. Plain C, as such a program has no Python.
//
// Without PMI_FD the program is a job of its own: rank 0 of 1, with a key-value space in its memory.
#include <ctype.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum {
    PMI_SUCCESS = 0, PMI_FAIL = -1, PMI_ERR_INIT = 1, PMI_ERR_NOMEM = 2, PMI_ERR_INVALID_ARG = 3,
    PMI_ERR_INVALID_KEY = 4, PMI_ERR_INVALID_LENGTH = 8, PMI_ERR_INVALID_SIZE = 13
};
enum { NAME_MAX_ = 64, KEY_MAX_ = 64, VALUE_MAX_ = 1024, LINE_MAX_ = 4096, APPNUM = 0 };

#define PUBLIC __attribute__((visibility("default")))

struct entry {
    struct entry *next;
    char *key, *value;
};

static int initialized, fd = -1, rank, size = 1;
static char buffer[LINE_MAX_];  // what was read beyond the last line
static size_t buffered;
static struct entry *own;  // without a server

static int number(const char *text, int least, int *found)
{
    char *end;
    long value;

    if (text == NULL || !isdigit((unsigned char)*text))
        return -1;
    errno = 0;
    value = strtol(text, &end, 10);
    if (errno || *end || value < least || value > 0x7fffffff)
        return -1;
    *found = (int)value;
    return 0;
}

// Write a request.
static int tell(const char *line, size_t length)
{
    while (length > 0) {
        ssize_t n = write(fd, line, length);
        if (n < 0 && errno != EINTR)
            return PMI_FAIL;
        if (n > 0) {
            line += n;
            length -= (size_t)n;
        }
    }
    return PMI_SUCCESS;
}

// Read a line, without its end, into a text of LINE_MAX_ bytes.
static int hear(char *line)
{
    for (;;) {
        char *end = memchr(buffer, '\n', buffered);
        ssize_t n;
        if (end != NULL) {
            size_t length = (size_t)(end - buffer);
            memcpy(line, buffer, length);
            line[length] = '\0';
            buffered -= length + 1;
            memmove(buffer, end + 1, buffered);
            return PMI_SUCCESS;
        }
        if (buffered == sizeof buffer)
            return PMI_FAIL;
        n = read(fd, buffer + buffered, sizeof buffer - buffered);
        if (n == 0 || (n < 0 && errno != EINTR))
            return PMI_FAIL;
        if (n > 0)
            buffered += (size_t)n;
    }
}

// The value of NAME= in an answer, up to the next blank (for value, to the end); NULL if it is not there. Changes line.
static char *field(char *line, const char *name)
{
    size_t length = strlen(name);
    char *at = line;

    while ((at = strstr(at, name)) != NULL) {
        if ((at == line || at[-1] == ' ') && at[length] == '=') {
            at += length + 1;
            if (strcmp(name, "value") != 0)
                at[strcspn(at, " ")] = '\0';
            return at;
        }
        at += length;
    }
    return NULL;
}

// Ask, and take the answer of kind `kind`, a line of LINE_MAX_ bytes; its rc, or PMI_FAIL if it is another one.
static int ask(const char *request, const char *kind, char *answer)
{
    char word[LINE_MAX_], *rc;
    char start[64];

    if (tell(request, strlen(request)) < 0 || hear(answer) < 0)
        return PMI_FAIL;
    snprintf(start, sizeof start, "cmd=%s ", kind);
    if (strncmp(answer, start, strlen(start)) != 0)
        return PMI_FAIL;
    memcpy(word, answer, sizeof word);
    rc = field(word, "rc");
    return rc == NULL ? PMI_FAIL : atoi(rc);
}

// Ask for a number, the field `name` of the answer.
static int ask_number(const char *request, const char *kind, const char *name, int *found)
{
    char answer[LINE_MAX_];
    int rc = ask(request, kind, answer);

    if (rc != PMI_SUCCESS)
        return rc;
    return number(field(answer, name), 0, found) < 0 ? PMI_FAIL : PMI_SUCCESS;
}

PUBLIC int PMI_Init(int *spawned)
{
    char answer[LINE_MAX_];
    const char *text = getenv("PMI_FD");
    int rc;

    if (initialized)
        return PMI_ERR_INIT;
    if (spawned != NULL)
        *spawned = 0;
    fd = -1, rank = 0, size = 1, buffered = 0;
    if (text != NULL) {
        if (number(text, 0, &fd) < 0 || number(getenv("PMI_RANK"), 0, &rank) < 0
            || number(getenv("PMI_SIZE"), 1, &size) < 0)
            return PMI_FAIL;
        rc = ask("cmd=init pmi_version=1 pmi_subversion=1\n", "response_to_init", answer);
        if (rc != PMI_SUCCESS)
            return rc;
    }
    initialized = 1;
    return PMI_SUCCESS;
}

PUBLIC int PMI_Initialized(int *found)
{
    if (found == NULL)
        return PMI_ERR_INVALID_ARG;
    *found = initialized;
    return PMI_SUCCESS;
}

PUBLIC int PMI_Finalize(void)
{
    char answer[LINE_MAX_];
    int rc = PMI_SUCCESS;

    if (!initialized)
        return PMI_ERR_INIT;
    if (fd >= 0)
        rc = ask("cmd=finalize\n", "finalize_ack", answer);
    while (own != NULL) {
        struct entry *next = own->next;
        free(own->key);
        free(own->value);
        free(own);
        own = next;
    }
    initialized = 0;
    return rc;
}

static int give(int *out, int value)
{
    if (!initialized)
        return PMI_ERR_INIT;
    if (out == NULL)
        return PMI_ERR_INVALID_ARG;
    *out = value;
    return PMI_SUCCESS;
}

PUBLIC int PMI_Get_size(int *found) { return give(found, size); }
PUBLIC int PMI_Get_rank(int *found) { return give(found, rank); }
PUBLIC int PMI_KVS_Get_name_length_max(int *found) { return give(found, NAME_MAX_); }
PUBLIC int PMI_KVS_Get_key_length_max(int *found) { return give(found, KEY_MAX_); }
PUBLIC int PMI_KVS_Get_value_length_max(int *found) { return give(found, VALUE_MAX_); }
PUBLIC int PMI_Get_id_length_max(int *found) { return give(found, NAME_MAX_); }

PUBLIC int PMI_Get_universe_size(int *found)
{
    int rc = give(found, size);
    return rc || fd < 0 ? rc : ask_number("cmd=get_universe_size\n", "universe_size", "size", found);
}

PUBLIC int PMI_Get_appnum(int *found)
{
    int rc = give(found, APPNUM);
    return rc || fd < 0 ? rc : ask_number("cmd=get_appnum\n", "appnum", "appnum", found);
}

PUBLIC int PMI_Barrier(void)
{
    char answer[LINE_MAX_];

    if (!initialized)
        return PMI_ERR_INIT;
    return fd < 0 ? PMI_SUCCESS : ask("cmd=barrier_in\n", "barrier_out", answer);
}

PUBLIC int PMI_Abort(int code, const char *text)
{
    char line[LINE_MAX_];

    if (fd >= 0) {
        int i, n = snprintf(line, sizeof line, "cmd=abort exitcode=%d error_msg=%.1024s", code, text ? text : "");
        for (i = 0; i < n; i++)
            if (iscntrl((unsigned char)line[i]))
                line[i] = ' ';
        line[n] = '\n';
        (void)tell(line, (size_t)n + 1);
    }
    else if (text != NULL)
        fprintf(stderr, "PMI_Abort: %s\n", text);
    exit(code);
}

static int copy(const char *text, char *out, int length)
{
    if (out == NULL)
        return PMI_ERR_INVALID_ARG;
    if (length < 0 || strlen(text) >= (size_t)length)
        return PMI_ERR_INVALID_LENGTH;
    strcpy(out, text);
    return PMI_SUCCESS;
}

PUBLIC int PMI_KVS_Get_my_name(char *out, int length)
{
    char answer[LINE_MAX_], *name;
    int rc;

    if (!initialized)
        return PMI_ERR_INIT;
    if (fd < 0)
        return copy("singleton", out, length);
    rc = ask("cmd=get_my_kvsname\n", "my_kvsname", answer);
    if (rc != PMI_SUCCESS)
        return rc;
    name = field(answer, "kvsname");
    return name == NULL ? PMI_FAIL : copy(name, out, length);
}

PUBLIC int PMI_Get_id(char *out, int length) { return PMI_KVS_Get_my_name(out, length); }
PUBLIC int PMI_Get_kvs_domain_id(char *out, int length) { return PMI_KVS_Get_my_name(out, length); }

static int put_own(const char *key, const char *value)
{
    struct entry *one;
    char *text = strdup(value);

    for (one = own; one != NULL && strcmp(one->key, key) != 0; one = one->next)
        ;
    if (text == NULL)
        return PMI_ERR_NOMEM;
    if (one == NULL) {
        one = calloc(1, sizeof *one);
        if (one == NULL || (one->key = strdup(key)) == NULL) {
            free(one);
            free(text);
            return PMI_ERR_NOMEM;
        }
        one->next = own;
        own = one;
    }
    free(one->value);
    one->value = text;
    return PMI_SUCCESS;
}

PUBLIC int PMI_KVS_Put(const char *name, const char *key, const char *value)
{
    char line[LINE_MAX_], answer[LINE_MAX_];
    int n;

    if (!initialized)
        return PMI_ERR_INIT;
    if (name == NULL || key == NULL || value == NULL || strpbrk(key, " =\n") || strchr(value, '\n'))
        return PMI_ERR_INVALID_ARG;
    if (fd < 0)
        return put_own(key, value);
    n = snprintf(line, sizeof line, "cmd=put kvsname=%s key=%s value=%s\n", name, key, value);
    return n >= (int)sizeof line ? PMI_ERR_INVALID_LENGTH : ask(line, "put_result", answer);
}

PUBLIC int PMI_KVS_Commit(const char *name)
{
    if (!initialized)
        return PMI_ERR_INIT;
    return name == NULL ? PMI_ERR_INVALID_ARG : PMI_SUCCESS;  // what is put is visible
}

PUBLIC int PMI_KVS_Get(const char *name, const char *key, char *out, int length)
{
    char line[LINE_MAX_], answer[LINE_MAX_], *value;
    struct entry *one;
    int n, rc;

    if (!initialized)
        return PMI_ERR_INIT;
    if (name == NULL || key == NULL || strpbrk(key, " =\n"))
        return PMI_ERR_INVALID_ARG;
    if (fd < 0) {
        for (one = own; one != NULL; one = one->next)
            if (strcmp(one->key, key) == 0)
                return copy(one->value, out, length);
        return PMI_ERR_INVALID_KEY;
    }
    n = snprintf(line, sizeof line, "cmd=get kvsname=%s key=%s\n", name, key);
    if (n >= (int)sizeof line)
        return PMI_ERR_INVALID_LENGTH;
    rc = ask(line, "get_result", answer);
    if (rc != PMI_SUCCESS)
        return rc;
    value = field(answer, "value");
    return value == NULL ? PMI_FAIL : copy(value, out, length);
}

// The ranks on this task's node, from PMI_process_mapping, into `ranks` (unless NULL) of `length`; how many, or -1.
static int clique(int *ranks, int length)
{
    char map[VALUE_MAX_];
    const char *at;
    int pass, node, width, count, used, found = 0, mine = -1;

    if (size == 1 || PMI_KVS_Get("", "PMI_process_mapping", map, sizeof map) != PMI_SUCCESS || map[0] == '\0')
        goto alone;
    for (pass = 0; pass < 2; pass++) {  // which node is ours, and who is on it
        int task = 0;
        for (at = strchr(map, ','); at != NULL; at = strchr(at, ',')) {
            if (sscanf(at, ", (%d , %d , %d )%n", &node, &width, &count, &used) != 3)
                return -1;
            for (int i = 0; i < width; i++)
                for (int j = 0; j < count && task < size; j++, task++) {
                    if (pass == 0 && task == rank)
                        mine = node + i;
                    if (pass == 1 && node + i == mine) {
                        if (ranks != NULL && found < length)
                            ranks[found] = task;
                        found++;
                    }
                }
            at += used;
        }
    }
    if (found > 0)
        return found;
alone:
    if (ranks != NULL && length > 0)
        ranks[0] = rank;
    return 1;
}

PUBLIC int PMI_Get_clique_size(int *found)
{
    int rc = give(found, 0);
    if (rc == PMI_SUCCESS) {
        *found = clique(NULL, 0);
        rc = *found < 0 ? PMI_FAIL : PMI_SUCCESS;
    }
    return rc;
}

PUBLIC int PMI_Get_clique_ranks(int *ranks, int length)
{
    int n;

    if (!initialized)
        return PMI_ERR_INIT;
    if (ranks == NULL)
        return PMI_ERR_INVALID_ARG;
    n = clique(ranks, length);
    if (n < 0)
        return PMI_FAIL;
    return n > length ? PMI_ERR_INVALID_SIZE : PMI_SUCCESS;
}

PUBLIC int PMI_Publish_name(const char *service, const char *port) { (void)service; (void)port; return PMI_FAIL; }
PUBLIC int PMI_Unpublish_name(const char *service) { (void)service; return PMI_FAIL; }
PUBLIC int PMI_Lookup_name(const char *service, char *port) { (void)service; (void)port; return PMI_FAIL; }
