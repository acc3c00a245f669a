// The way between an agent's informer of one kind and the server: what happens on it is drawn at random.
#pragma once

#include <deque>
#include <memory>
#include <optional>
#include <string>

#include "api/client/list_watch.h"
#include "sim/simulated_server.h"
#include "test/support/random.h"

namespace ocicat::test {

// How bad the network is.
struct Weather {
  unsigned trouble = 0;  // of a hundred events, so many go wrong
  unsigned echo = 0;     // and in so many, lines of a watch come again, or change places
};

class Connection {
 public:
  Connection(Kind kind, std::uint32_t seed) : kind_(kind), reading_(kind, seed, kItemsAtOnce) {}

  // One event on the way, if there is any at this time: a request that is answered, a piece of an answer, its
  // end. What the informer learned; `log` says in a few words what happened.
  std::optional<api::Update> happen(SimulatedServer& server, Time now, Random& random, const Weather& weather,
                                    std::string& log);
  // The server is gone, and what it was sending with it.
  api::Update cut(Time now);
  // When there can be something again, if not now.
  bool waits(Time now) const { return !asked_ && due_ > now; }
  Time due() const { return due_; }

  Kind kind() const { return kind_; }
  bool listed() const { return reading_.listed(); }

 private:
  static constexpr std::size_t kItemsAtOnce = 2;  // clusters here are small

  void fill();
  api::Update take(api::ListWatch::Step step, Time now);
  api::Update ask(SimulatedServer& server, Time now);
  api::Update listen(Time now, Random& random, const Weather& weather, std::string& log);
  std::string draw_piece(Random& random);
  std::string draw_echo(Random& random);
  std::string draw_swapped();
  void note_lines(std::string_view piece);

  const Kind kind_;
  api::ListWatch reading_;
  Time due_{};
  bool asked_ = false;
  std::shared_ptr<http::Stream> stream_;
  bool stream_ended_ = false;
  std::string coming_;             // sent and not yet here
  std::string begun_;              // of a line that is half here
  std::deque<std::string> lines_;  // the last ones of this watch that are here
};

}  // namespace ocicat::test
