/* SPDX-License-Identifier: Apache-2.0 OR GPL-2.0-only */
/* Notes connections, and finds places for them. Where all eight are taken, the first of these gives way:
 *
 *   one that is over
 *   one that nobody has answered, or that ends; of the own workload first
 *   one of the workload that has most of the table (maps/holders.h), or of the address, where that has begun more than
 *   a 64th; where several have as many, of the own ones. Of a workload's that of the address that has begun most, if
 *   it has so many
 *
 * and of several the one that has been idle for longest. But a newcomer for whose workload, or for whose address, more
 * than a 64th of the table is taken, takes none that is answered of others who have no more: where there is no other
 * place for it, it has none. So a flood, of whatever kind, pushes out its own once it has so many, and stops
 * itself where it has none there: also where a workload is flooded from many addresses, or many are from one.
 */
#pragma once

#include "lib/connections.h"
#include "lib/departures.h"

struct {
  __uint(type, BPF_MAP_TYPE_ARRAY);
  __uint(max_entries, 1);
  __uint(map_flags, BPF_F_MMAPABLE);
  __type(key, __u32);
  __type(value, struct holders);
} holders SEC(".maps");

static __always_inline struct holders* the_holders(void) {
  __u32 first = 0;
  return bpf_map_lookup_elem(&holders, &first);
}

static __always_inline struct holder whose(const struct connection_key* key,
                                           const struct connection* connection) {
  const struct host* secrets = the_host();
  struct holder nobody = {};
  return secrets ? holder_of(key, connection, &secrets->secret) : nobody;
}

/* Where a number stands; the compiler may not leave out what bounds it, as it knows and older verifiers do not. */
static __always_inline __s32* owner_at(struct holders* all, __u32 owner) {
  asm("" : "+r"(owner));
  return &all->owner[owner % OWNERS_MAX];
}
static __always_inline __s32* beginner_at(struct holders* all, __u32 beginner) {
  asm("" : "+r"(beginner));
  return &all->beginner[beginner % BEGINNERS_MAX];
}

static __always_inline __u32 count_of(const __s32* number) {
  __s32 count = READ_ONCE(*number);
  return count > 0 ? count : 0;
}

/* That those for whom it counts have so many places more. A function of its own to the
 * verifier, which has it before it in many places. */
__noinline int add_places(const struct connection_key* key, const struct connection* connection,
                          __s32 places) {
  struct holders* all = the_holders();
  if (!key || !connection || !all) return 0;
  struct holder holder = whose(key, connection);
  __sync_fetch_and_add(owner_at(all, holder.owner), places);
  __sync_fetch_and_add(beginner_at(all, holder.beginner), places);
  return 0;
}

#define NO_PLACE 0xffffffff

/* How many places those have for whom a connection counts. */
struct held {
  struct holder by;
  __u32 owner;
  __u32 beginner; /* 0: no more than HOLDS_MANY, and so what counts is the owner alone */
};

static __always_inline struct held held_with(const struct connection_key* key,
                                             const struct connection* connection) {
  struct holders* all = the_holders();
  struct held held = {.by = whose(key, connection)};
  if (!all) return held;
  held.owner = count_of(owner_at(all, held.by.owner));
  held.beginner = count_of(beginner_at(all, held.by.beginner));
  if (held.beginner <= HOLDS_MANY) held.beginner = 0;
  return held;
}

static __always_inline __u32 most_of(const struct held* held) {
  return held->owner < held->beginner ? held->beginner : held->owner;
}

/* A connection that is to have a place, and who answers for it. */
struct newcomer {
  struct held held;
  __u32 by_address; /* whether that is the address, which is outside and has many; else the owner is */
};

static __always_inline struct newcomer newcomer_of(const struct connection_key* key,
                                                   const struct connection* connection) {
  struct newcomer newcomer = {.held = held_with(key, connection)};
  newcomer.by_address = newcomer.held.beginner && !begun_by(key, connection);
  return newcomer;
}

/* Whether it may take the place of one that is answered. Of the workload that an address floods, what others have is
 * not the address's because the workload has much. */
static __always_inline int may_take_from(const struct newcomer* newcomer, const struct held* there) {
  int same_owner = newcomer->held.by.owner == there->by.owner;
  if (newcomer->by_address) {
    __u32 has = newcomer->held.beginner;
    return newcomer->held.by.beginner == there->by.beginner || there->beginner > has ||
           (!same_owner && there->owner > has);
  }
  return newcomer->held.owner <= HOLDS_MANY || same_owner || most_of(there) > newcomer->held.owner;
}

/* What speaks for giving away a place that is taken, in one word: */
enum {
  GRADE_OVER = 3,       /* the connection is over, */
  GRADE_UNANSWERED = 2, /* or nobody has answered, and it is the newcomer's owner's, */
  GRADE_OTHERS = 1,     /* or another's, */
  GRADE_ANSWERED = 0,   /* or it is answered: */
  GRADE_SHIFT = 62,
  GRADE_MOST_SHIFT = 40,     /* how many places those have for whom it counts: the one who has more, */
  GRADE_OWN_SHIFT = 39,      /* whether that is the newcomer's own; */
  GRADE_BEGINNER_SHIFT = 18, /* how many the address has, if many; */
  GRADE_BEGUN_SHIFT = 17,    /* whether the newcomer's address has begun it; */
  GRADE_IDLE = 0x7fff,       /* and how long it has been idle, in eighths of a second or so: 73 minutes */
  GRADE_IDLE_SHIFT = 7,
};

static __always_inline __u64 idle_for(const struct connection* connection, __u32 now) {
  __s32 ticks = (__s32)(now - READ_ONCE(connection->seen));
  __u32 idle = ticks > 0 ? (__u32)ticks >> GRADE_IDLE_SHIFT : 0;
  return 1 + (idle > GRADE_IDLE ? GRADE_IDLE : idle);
}

/* Of one that is answered. */
static __always_inline __u64 answered_grade(const struct held* there, const struct holder* newcomer) {
  __u64 same_owner = there->by.owner == newcomer->owner,
        same_beginner = there->by.beginner == newcomer->beginner;
  __u64 own = there->owner < there->beginner ? same_beginner : same_owner;
  return (__u64)most_of(there) << GRADE_MOST_SHIFT | own << GRADE_OWN_SHIFT |
         (__u64)there->beginner << GRADE_BEGINNER_SHIFT | same_beginner << GRADE_BEGUN_SHIFT;
}

/* 0: it stays. */
__noinline __u64 grade_of(__u32 place, const struct newcomer* newcomer, __u32 now) {
  const struct tracked* there = tracked_at(place);
  if (!newcomer || !there || READ_ONCE(there->version) & 1) return 0;
  const struct connection* connection = &there->connection;
  __u8 protocol = there->key.protocol;
  __u64 idle = idle_for(connection, now);
  if (has_expired(connection, protocol, now)) return (__u64)GRADE_OVER << GRADE_SHIFT | idle;
  struct held held = held_with(&there->key, connection);
  if (!is_answered(connection, protocol)) {
    __u64 grade = held.by.owner == newcomer->held.by.owner ? GRADE_UNANSWERED : GRADE_OTHERS;
    return grade << GRADE_SHIFT | idle;
  }
  return may_take_from(newcomer, &held) ? answered_grade(&held, &newcomer->held.by) + idle : 0;
}

/* Of the connection's eight places, none of them free: which one to give away; NO_PLACE: none. */
__noinline __u32 least_of(const struct connection_key* key, const struct connection* next) {
  if (!key || !next) return NO_PLACE;
  __u32 now = clock_now();
  struct newcomer newcomer = newcomer_of(key, next);
  __u32 places = places_for(key), best = NO_PLACE;
  __u64 most = 0;
  for (__u32 i = 0; i < CONNECTION_WAYS; ++i) {
    __u64 grade = grade_of(place_in(places, i), &newcomer, now);
    if (grade <= most) continue;
    most = grade;
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
static __always_inline int rewrite(struct tracked* there, const struct connection* next, __u32 version) {
  struct connection* connection = &there->connection;
  if (owner_of(&there->key, connection) != owner_of(&there->key, next) ||
      begun_by(&there->key, connection) != begun_by(&there->key, next) ||
      beginner(connection) != beginner(next)) {
    add_places(&there->key, connection, -1);
    add_places(&there->key, next, 1);
  }
  for (int end = 0; end < 2; ++end) WRITE_ONCE(connection->endpoint[end], next->endpoint[end]);
  for (int end = 0; end < 2; ++end) WRITE_ONCE(connection->tcp[end], next->tcp[end]);
  WRITE_ONCE(connection->flags, next->flags);
  WRITE_ONCE(connection->workload, next->workload);
  WRITE_ONCE(connection->seen, next->seen);
  forget_roads(there);
  WRITE_ONCE(connection->judged, next->judged);
  /* A mere look could come before the writes. */
  if (__sync_val_compare_and_swap(&there->version, version, version) == version) return 1;
  end_connection(connection, clock_now());
  return 0;
}

/* Notes it in this place: where. 0: somebody else has been faster. A function of its own: the stack is full. */
static __noinline struct connection* put_at(__u32 place, const struct connection_key* key,
                                            const struct connection* next, int anew,
                                            const struct telling* by) {
  struct tracked* there = tracked_at(place);
  if (!there) return 0;
  struct connection* connection = &there->connection;
  __u32 version = READ_ONCE(there->version);
  if (version & 1) return 0;
  if (version && !anew && is_same_key(&there->key, key)) {
    if (!rewrite(there, next, version)) return 0;
    note_outcomes(place, next, by);
    return connection;
  }
  if (__sync_val_compare_and_swap(&there->version, version, version | 1) != version) return 0;
  add_places(key, next, 1);
  if (version) {
    add_places(&there->key, connection, -1);
    depart(place, there, version);
  }
  there->key = *key;
  *connection = *next;
  __builtin_memset(&there->road, 0, sizeof there->road);
  note_outcomes(place, next, by);
  version += 2;
  __sync_lock_test_and_set(&there->version, version ? version : 2); /* behind all of it */
  return connection;
}

#define MAX_ATTEMPTS 4

/* Notes what has been judged, and by which outcomes; counters stay, of a connection that is known and not begun anew.
 * Where it is noted from here on; 0: no room. */
static __noinline struct connection* put_connection(const struct connection_key* key,
                                                    const struct connection* next, int anew,
                                                    const struct telling* by) {
  for (int i = 0; i < MAX_ATTEMPTS; ++i) {
    __u32 place = place_for(key);
    if (place == NO_PLACE) place = least_of(key, next);
    if (place == NO_PLACE) return 0;
    struct connection* noted = put_at(place, key, next, anew, by);
    if (noted) return noted;
  }
  return 0;
}
