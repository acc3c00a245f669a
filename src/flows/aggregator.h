// Sums flows up by Calico's key (semantics.md 9): who with whom, by groups, to which port, told by whom, and
// what policy said. Client ports and addresses are dropped, labels intersected.
//
//   windows  the one that runs and the last one that was whole; turn() begins the next
//   bounds   at most `most` keys a window; what has none of them is counted, never silently left out
//   cost     of a flow, one hash look-up
#pragma once

#include <boost/unordered/unordered_flat_map.hpp>

#include <cstdint>
#include <memory>
#include <vector>

#include "flows/recorder.h"

namespace ocicat::flows {

struct Counts {
  std::uint64_t flows = 0;      // connections that began,
  std::uint64_t completed = 0;  // and that ended
  std::uint64_t live = 0;       // that went on when connections were looked at last
  std::uint64_t packets_in = 0, packets_out = 0, bytes_in = 0, bytes_out = 0;  // of Carried
  std::uint64_t refused = 0;                                                   // packets
  std::uint64_t refused_bytes = 0;

  Counts& operator+=(const Counts& more);
  bool operator==(const Counts&) const = default;
};

struct Aggregate {
  std::shared_ptr<const Group> source, destination;
  std::shared_ptr<const Labels> source_labels, destination_labels;  // that all have; nullptr: none
  KnownOutcome outcome;                                             // of the reporter; may hold nothing
  std::uint16_t destination_port = 0;                               // of ICMP type << 8 | code
  Protocol protocol = 0;
  policy::Direction reporter{};
  Reason reason{};
  Moment first, last;
  Counts counts;
};

class Aggregator {
 public:
  static constexpr std::size_t kMost = 65'536;
  explicit Aggregator(Moment began, std::size_t most = kMost) : most_(most), now_{began, {}, {}, {}} {}

  void add(const Sighting& sighting);
  // All connections are about to be told of: none is known to be live.
  void look_again();
  // The window that runs becomes the last one.
  void turn(Moment now);

  struct Window {
    Moment began;
    std::vector<Aggregate> aggregates;
    Counts others;  // of flows that no key was left for
    // Internal: key → index of aggregates.
    struct Key {
      const Group *source = nullptr, *destination = nullptr;
      const policy::Outcome* outcome = nullptr;
      std::uint32_t service = 0;  // port and protocol
      std::uint32_t what = 0;     // reporter and reason
      bool operator==(const Key&) const = default;
      friend std::size_t hash_value(const Key& key);
    };
    boost::unordered_flat_map<Key, std::uint32_t> index;
  };
  const Window& running() const { return now_; }
  const Window& last() const { return last_; }

 private:
  std::size_t most_;
  Window now_, last_;
};

}  // namespace ocicat::flows
