// A server, its users and its agents, in one thread and in a time of their own: any order of events, from
// one list of moves.
#pragma once

#include <cstdint>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "sim/simulated_agent.h"
#include "sim/simulated_server.h"

namespace ocicat::test {

// One thing that happens. Everything about it that is random comes from its own `dice`, so that it stays the
// same when others are left out.
struct Move {
  enum class Kind : std::uint8_t {
    kWrite,   // a user writes
    kHear,    // an event on the way from the server to an agent
    kThink,   // an agent's engine takes what its informers left
    kKeep,    // an agent's dataplane takes what its engine left, and writes
    kWait,    // time passes
    kSettle,  // good weather, until nobody has anything to do
    kRestartAgent,
    kRestartServer,  // some time after a write that nobody knows the end of
    kLoseTable,      // somebody removes an agent's table
    kTurnLink,       // an interface comes or goes
  };
  Kind kind{};
  std::uint64_t dice = 0;
};
using Moves = std::vector<Move>;

// Some documents first, then everything there is.
Moves random_moves(std::uint64_t seed, std::size_t count);

struct Run {
  std::string failure;           // empty: every claim held
  std::vector<std::string> log;  // what happened
  std::size_t writes = 0;        // of documents, acknowledged
  std::size_t transactions = 0;  // of all agents' kernels
  Judged judged;                 // packets put to their maps
};

// Makes all moves, then lets everything settle and compares. `seed` draws how bad the weather is, and how
// soon the server forgets.
Run run(std::uint64_t seed, const Moves& moves);

}  // namespace ocicat::test
