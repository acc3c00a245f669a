/* SPDX-License-Identifier: Apache-2.0 OR GPL-2.0-only */
/* Notes connections, and finds places for them. Where all eight are taken, the first of these gives way:
 *
 *   one that is over
 *   one that nobody has answered, or that ends; of the own workload first
 *   one of the workload, or begun by the address, that has most of the eight; where several have as many, of
 *   the own ones. Of a workload's the address's that has begun most, and of an address's the workload's that has most
 *
 * and of several the one that has been idle for longest. So a flood, of whatever kind, pushes out its own: who
 * has less of the table than the one who floods loses nothing that is answered. From however many addresses a
 * workload is flooded, other workloads lose nothing; and however many are flooded from one address, nobody else.
 */
#pragma once

#include "lib/connections.h"

enum { OWNER_HOST_ENDPOINT = 0x4000, OWNER_HOST_FOR_OTHERS = 0x7fff };

/* Who it counts for, when there is no room for all: a workload, or at the host a host endpoint; there all
 * that workloads send or are sent counts as one, as the workloads' own entries say the same. */
static __always_inline __u32 owner_of(const struct connection_key* key, const struct connection* connection) {
  __u32 begun = slot_at(connection, beginner(connection));
  __u32 owner = begun ? begun : slot_at(connection, !beginner(connection));
  if (!key->at_host) return owner;
  __u32 for_others = connection->flags & (HOST_CONNECTION_FORWARDED | HOST_CONNECTION_FROM_WORKLOAD);
  return for_others ? OWNER_HOST_FOR_OTHERS : OWNER_HOST_ENDPOINT | owner;
}

#define NO_PLACE 0xffffffff

/* What is to be known of a place that is taken, in one word: the stack of those who ask is full. */
enum {
  GRADE_OVER = 3,       /* the connection is over, */
  GRADE_UNANSWERED = 2, /* or nobody has answered, and it is the newcomer's owner's, */
  GRADE_OTHERS = 1,     /* or another's, */
  GRADE_ANSWERED = 0,   /* or it is answered */
  GRADE_SHIFT = 62,
  GRADE_OWNER_SHIFT = 47,    /* below that: whose it is, */
  GRADE_BEGINNER_SHIFT = 15, /* a digest of the address that began it, in 32 bits, */
  GRADE_IDLE = 0x7fff,       /* and how long it has been idle, in eighths of a second or so: 73 minutes */
  GRADE_IDLE_SHIFT = 7,
};

/* Whose it is, and who began it, as grades have it. Nobody outside can say which addresses share a digest. */
static __always_inline __u64 whose(const struct connection_key* key, const struct connection* connection) {
  const struct host* secrets = the_host();
  const struct address* from = &key->address[beginner(connection)];
  __u64 digest = 0;
  for (int i = 0; secrets && i < 4; ++i) digest += from->word[i] * secrets->secret.word[i];
  return (__u64)owner_of(key, connection) << GRADE_OWNER_SHIFT | digest >> 32 << GRADE_BEGINNER_SHIFT;
}

/* `own`: whose the newcomer is. */
__noinline __u64 grade_of(__u32 place, __u64 own, __u32 now) {
  const struct tracked* there = tracked_at(place);
  if (!there || READ_ONCE(there->version) & 1) return 0;
  const struct connection* connection = &there->connection;
  __u8 protocol = there->key.protocol;
  __s32 ticks = (__s32)(now - READ_ONCE(connection->seen));
  __u32 idle = ticks > 0 ? (__u32)ticks >> GRADE_IDLE_SHIFT : 0;
  __u64 has = whose(&there->key, connection), grade = GRADE_ANSWERED;
  if (has_expired(connection, protocol, now)) {
    grade = GRADE_OVER;
  } else if (!is_answered(connection, protocol)) {
    grade = (has ^ own) >> GRADE_OWNER_SHIFT ? GRADE_OTHERS : GRADE_UNANSWERED;
  }
  return grade << GRADE_SHIFT | has | (idle > GRADE_IDLE ? GRADE_IDLE : idle);
}

/* 1 or 0; of numbers that are less than 2^63. Without a branch, and so that the compiler makes none of it: the
 * verifier would follow all that eight times eight of them can lead to. */
static __always_inline __u64 is_less(__u64 a, __u64 b) {
  __u64 difference = a - b;
  asm("" : "+r"(difference));
  return difference >> 63;
}

/* Of two that are answered, whether they are one owner's, and whether one address has begun them. Of eight, such
 * numbers add up. */
enum { SAME_OWNER = 16, SAME_BEGINNER = 1, SAME_BITS = 8 };

static __always_inline __u64 alike(__u64 a, __u64 b) {
  __u64 differ = a ^ b;
  return is_less(differ >> GRADE_OWNER_SHIFT, 1) * SAME_OWNER +
         is_less((__u32)(differ >> GRADE_BEGINNER_SHIFT), 1) * SAME_BEGINNER;
}

/* Of each of eight that are answered, in a byte: with how many others it is alike. Each two are compared once. */
static __always_inline __u64 count_alike(const __u64* grades) {
  __u64 sums = 0;
#pragma clang loop unroll(full)
  for (__u32 i = 1; i < CONNECTION_WAYS; ++i) {
    __u64 grade = READ_ONCE(grades[i]);
#pragma clang loop unroll(full)
    for (__u32 j = 0; j < i; ++j)
      sums += alike(grade, READ_ONCE(grades[j])) * (1ULL << i * SAME_BITS | 1ULL << j * SAME_BITS);
  }
  return sums;
}

/* What speaks for giving away an answered one with this grade, and with so many others alike. Others count twice
 * and the newcomer once: where several have as many, it is the own ones that give way. */
static __always_inline __u64 worth_of(__u64 grade, __u64 others, __u64 own) {
  __u64 sum = 2 * others + alike(grade, own);
  __u64 owners = sum / SAME_OWNER, beginners = sum % SAME_OWNER,
        most = owners > beginners ? owners : beginners;
  return (most * 2 * SAME_OWNER + owners + beginners) << GRADE_BEGINNER_SHIFT | (grade & GRADE_IDLE);
}

/* Of eight places, none of them free: which one to give away. `own`: whose the newcomer is. Loops stay loops, and
 * grades are read where they are, for the stack. */
__noinline __u32 least_of(__u32 places, __u64 own, __u32 now) {
  __u64 grades[CONNECTION_WAYS], most = 0;
  __u32 best = NO_PLACE;
#pragma clang loop unroll(disable)
  for (__u32 i = 0; i < CONNECTION_WAYS; ++i) {
    grades[i] = grade_of(place_in(places, i), own, now);
    __u64 worth = grades[i] >> GRADE_SHIFT << GRADE_SHIFT | (grades[i] & GRADE_IDLE);
    if (worth <= most) continue;
    most = worth;
    best = place_in(places, i);
  }
  if (most >> GRADE_SHIFT) return best;
  __u64 others = count_alike(grades);
  most = 0;
  best = place_in(places, 0);
#pragma clang loop unroll(disable)
  for (__u32 i = 0; i < CONNECTION_WAYS; ++i, others >>= SAME_BITS) {
    __u64 worth = worth_of(grades[i], others % (1 << SAME_BITS), own);
    if (worth <= most) continue;
    most = worth;
    best = place_in(places, i);
  }
  return best;
}

/* The place that has the connection, or a free one; NO_PLACE: all are others'. */
__noinline __u32 place_for(const struct connection_key* key) {
  if (!key) return NO_PLACE;
  __u32 places = places_for(key);
  for (__u32 i = 0; i < CONNECTION_WAYS; ++i) {
    const struct tracked* there = tracked_at(place_in(places, i));
    if (!there) return NO_PLACE;
    __u32 version = READ_ONCE(there->version);
    if (!version || (!(version & 1) && is_same_key(&there->key, key))) return place_in(places, i);
  }
  return NO_PLACE;
}

/* It is over. */
static __always_inline void end_connection(struct connection* connection, __u32 now) {
  WRITE_ONCE(connection->seen, long_before_now(now));
}

/* What is known of the connection there becomes what has been judged, in place; what it is comes before when
 * it was judged: whoever sees that it stands sees what it is. 0: meanwhile the place has become another's,
 * whose connection has to begin anew.
 */
static __always_inline int rewrite(struct tracked* there, const struct connection* next, __u32 version,
                                   __u32 now) {
  struct connection* connection = &there->connection;
  for (int end = 0; end < 2; ++end) WRITE_ONCE(connection->endpoint[end], next->endpoint[end]);
  for (int end = 0; end < 2; ++end) WRITE_ONCE(connection->tcp[end], next->tcp[end]);
  WRITE_ONCE(connection->flags, next->flags);
  WRITE_ONCE(connection->seen, next->seen);
  forget_roads(there);
  WRITE_ONCE(connection->judged, next->judged);
  /* A mere look could come before the writes. */
  if (__sync_val_compare_and_swap(&there->version, version, version) == version) return 1;
  end_connection(connection, now);
  return 0;
}

/* Notes it in this place: where. 0: somebody else has been faster. A function of its own: the stack is full. */
static __noinline struct connection* put_at(struct tracked* there, const struct connection_key* key,
                                            const struct connection* next, int anew, __u32 now) {
  struct connection* connection = &there->connection;
  __u32 version = READ_ONCE(there->version);
  if (version & 1) return 0;
  if (version && !anew && is_same_key(&there->key, key))
    return rewrite(there, next, version, now) ? connection : 0;
  if (__sync_val_compare_and_swap(&there->version, version, version | 1) != version) return 0;
  there->key = *key;
  *connection = *next;
  __builtin_memset(&there->road, 0, sizeof there->road);
  version += 2;
  __sync_lock_test_and_set(&there->version, version ? version : 2); /* behind all of it */
  return connection;
}

#define MAX_ATTEMPTS 4

/* Notes what has been judged; counters stay, of a connection that is known and not begun anew. Where it is
 * noted from here on; 0: no room. */
static __noinline struct connection* put_connection(const struct connection_key* key,
                                                    const struct connection* next, int anew, __u32 now) {
  for (int i = 0; i < MAX_ATTEMPTS; ++i) {
    __u32 place = place_for(key);
    if (place == NO_PLACE) place = least_of(places_for(key), whose(key, next), now);
    struct tracked* there = tracked_at(place);
    if (!there) return 0;
    struct connection* noted = put_at(there, key, next, anew, now);
    if (noted) return noted;
  }
  return 0;
}
