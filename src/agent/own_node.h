// What an agent sees to at the Node of its own host.
//
//   Node      made where there is none, with the addresses by which the host is known; one that is there is
//             somebody's, and stays as it is but for this:
//   tunnels   where pools want a tunnel and the host has an address of the family, its end has an address of
//             such a pool, which the Node tells all other hosts. It stays until its pool has gone: a pool that
//             no longer asks may do so again, under traffic
//   calm      a pool that is missing for a moment, as while somebody replaces it, costs no host its address: the
//             others would learn of another end of the tunnel, packets would be lost
//   by hand   an address that lies in no pool is somebody's own affair
//   crash     an address is given before the Node says it, and taken back after a write of the Node that took
//             it out, so that no write still on its way can tell it afterwards. What is given and not said
//             is found by its handle at the next look, kept from a release still on its way, and said
//   source    semantics.md 5
//   design    docs/design/ipam.md
#pragma once

#include <boost/json/object.hpp>

#include <array>
#include <chrono>
#include <functional>
#include <optional>
#include <string>

#include "base/result.h"
#include "ipam/allocator.h"
#include "ipam/documents.h"

namespace ocicat::agent {

// With a pool that is missing.
struct Calm {
  std::chrono::milliseconds patience = std::chrono::seconds(5);
  std::function<std::chrono::steady_clock::time_point()> now = std::chrono::steady_clock::now;
};

class OwnNode {
 public:
  // The address by which the host is known in a family, with the length of its subnet; nothing: it has none.
  using Detect = std::function<std::optional<Prefix>(Family)>;

  using Clock = std::chrono::steady_clock;
  // The longest between two looks: who takes an address from its handle changes neither pools nor the Node.
  static constexpr std::chrono::milliseconds kNextLook = std::chrono::minutes(5);
  // Borrows `documents`. For one thread.
  OwnNode(std::string name, ipam::Documents& documents, Detect detect, Calm calm = {})
      : name_(std::move(name)),
        documents_(documents),
        allocator_(documents),
        detect_(std::move(detect)),
        calm_(std::move(calm)) {}

  // Looks at Node and pools, and puts right what is not so. One tunnel that cannot have an address keeps no
  // other from having its own. How long it may be until the next look, without news. Errors: kUnavailable and
  // kConflict, to be tried again; kExhausted where no pool has an address for a tunnel, which it names.
  Result<std::chrono::milliseconds> settle();

 private:
  struct Look;

  // Nothing: something is to be looked at again at once.
  Result<std::optional<std::chrono::milliseconds>> look();
  Result<std::optional<boost::json::object>> find_or_make();

  std::string name_;
  ipam::Documents& documents_;
  ipam::Allocator allocator_;
  Detect detect_;
  Calm calm_;
  static constexpr std::size_t kTunnels = 3;
  // Since when the pool of a tunnel's address is missing, of those whose Node says one that is given.
  std::array<std::optional<Clock::time_point>, kTunnels> missing_{};
  bool found_ = false;  // there has been a Node: whoever deletes it means it
};

}  // namespace ocicat::agent
