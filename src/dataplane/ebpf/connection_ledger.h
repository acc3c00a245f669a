// What connections carry, told once: map connections against what map ledger says has been told of them.
//
//   goes on    a walk over all places books what has come since the last one
//   gives way  programs tell the ring, with all it has carried; what is booked is taken off here
//   order      what is booked for a connection that has gone is kept until the ring has been read behind it. So whoever
//              dies at any moment leaves to the next one what is not told, and nothing twice
//   cost       of a walk O(places), 10 ms or so; a few pages of both maps are in memory meanwhile
//   design     docs/design/flows.md#what-connections-carry
#pragma once

#include <array>
#include <cstdint>
#include <filesystem>
#include <functional>
#include <optional>
#include <vector>

#include "base/result.h"
#include "base/unique_fd.h"
#include "maps/ledger.h"
#include "maps/timeouts.h"

namespace ocicat::dataplane::ebpf {

// What a connection has carried since it was told last.
struct Booking {
  bpf::connection_key key{};
  bpf::connection connection{};
  std::array<std::uint32_t, 2> outcomes{};  // of egress and ingress policy; 0: nobody was asked
  std::array<std::uint64_t, 2> packets{};   // sent by each end of the key
  std::array<std::uint64_t, 2> bytes{};     // from the IP header on
  bool goes_on = true;                      // false with the last one
};

class ConnectionLedger {
 public:
  using Visit = std::function<void(const Booking&)>;

  explicit ConnectionLedger(std::filesystem::path maps) : maps_(std::move(maps)) {}

  // Connections that go on without having carried anything are visited as well. `drain` reads the ring, hands those
  // that have departed to depart(), and says whether it came to its end. kNotFound: nothing is pinned.
  Result<void> walk(const std::function<bool()>& drain, const Visit& visit);
  void depart(const bpf::departed& told, const Visit& visit);

 private:
  using Places = std::vector<std::uint32_t>;

  Result<void> open();
  // Those of `some`, in order, or all. `late`: whose place has been another's, which the ring may still tell of.
  Result<void> book(const Places* some, Places* late, const Visit& visit) const;

  std::filesystem::path maps_;  // pins
  UniqueFd connections_, ledger_;
  bpf::timeouts timeouts_{};
};

}  // namespace ocicat::dataplane::ebpf
