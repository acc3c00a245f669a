// Open connections change hands: from the kernel's connection tracking, by which nftables knows them, to map
// connections, and back; and from such a map of another layout.
//
//   to eBPF    each as its first packet was, at every place where programs will see it, and as one that has
//              to be judged again: by the next packet, in either direction
//   back       what the kernel does not know, has forgotten, or takes for a connection of the other side, as
//              what went past the stack may be. Of translated ones the kernel knows better, and those that it has
//              forgotten begin anew: they would go on as they are
//   not        what workloads have begun from where they may send beside their own addresses, as the kernel
//              does not know who sent it; SCTP that the kernel does not track (it asks for tags that nobody
//              has noted), TCP that is closed
//   order      as in the maps
//   design     docs/design/ebpf.md#handover
#pragma once

#include <cstdint>
#include <functional>
#include <map>
#include <optional>
#include <utility>
#include <vector>

#include "base/ip.h"
#include "dataplane/ebpf/connection_table.h"
#include "dataplane/ebpf/older_connections.h"
#include "kernel/bpf.h"
#include "kernel/connections.h"
#include "maps/connections.h"

namespace ocicat::dataplane::ebpf {

// Of the host, as far as connections are concerned.
struct LocalEnds {
  // Of the workload here that has the address; 0: nobody.
  std::function<std::uint32_t(const IpAddress&)> slot;
  // Whether it is an address of the host itself.
  std::function<bool(const IpAddress&)> is_host;
  // The own address of the workload that is reached under a floating one; nothing: it is none.
  std::function<std::optional<IpAddress>(const IpAddress&)> own = [](const IpAddress&) {
    return std::optional<IpAddress>();
  };
};

// How a connection that is taken over has been judged.
struct TakeOver {
  std::uint32_t now = 0;     // in ticks (bpf/lib/clock.h)
  std::uint32_t judged = 0;  // in this batch; long_before() one: it is to be judged again
  std::uint32_t revoked_mark = 0;
  bool at_host = false;  // there are host endpoints, who have judged it as well
  bpf::timeouts timeouts{};
};
std::uint32_t long_before(std::uint64_t batch);

// At the interfaces of workloads here: none, one, or where somebody translates, one for each end.
std::vector<NotedConnection> noted_at_workloads(const kernel::Connection& connection, const LocalEnds& ends,
                                                const TakeOver& how);
// At the host's hooks.
NotedConnection noted_at_host(const kernel::Connection& connection, const LocalEnds& ends,
                              const TakeOver& how);
// What `there` has to become to agree with what is `heard`; nothing: it does.
std::optional<bpf::connection> corrected(const bpf::connection& there, const bpf::connection& heard);

// Writes what the kernel tracks into the map. How many elements. O(connections).
Result<std::uint64_t> take_connections(kernel::ConnectionKernel& kernel, kernel::bpf::ElementMap& map,
                                       const LocalEnds& ends, const TakeOver& how);

// The same of what programs of another build have noted in a map of another layout. O(connections).
Result<std::uint64_t> take_connections(const OlderConnections& older, kernel::bpf::ElementMap& map,
                                       const LocalEnds& ends, const TakeOver& how);

struct GiveBack {
  std::uint32_t now = 0;           // in ticks
  std::uint32_t revoked_mark = 0;  // of connections that are denied
  bpf::timeouts timeouts{};
  // Whether the kernel translates what is forwarded of it.
  std::function<bool(const kernel::Connection&)> translates = [](const auto&) { return false; };
};
// What the kernel is to know of it at this moment; nothing: it is over, or cannot be told.
std::optional<kernel::Connection> tracked(const NotedConnection& noted, const GiveBack& how);
struct TrackingPlan {
  std::vector<kernel::Connection> remove, put, mark;
};
// What the kernel has to be told, of connections that it is to know and those that it says it tracks.
class TrackingPlanner {
 public:
  void want(const NotedConnection& noted, const GiveBack& how);
  void hear(const kernel::Connection& there);
  TrackingPlan take();

 private:
  struct Less {
    bool operator()(const bpf::connection_key& a, const bpf::connection_key& b) const;
  };
  struct Wanted {
    NotedConnection noted;
    kernel::Connection connection;
    bool translated = false;
    bool settled = false;
  };
  std::map<bpf::connection_key, Wanted, Less> wanted_;
  TrackingPlan plan_;
};

// Tells the kernel of what the map holds, until it agrees; as of the moment, whatever `how` says of that. How many connections were written. O(connections).
Result<std::uint64_t> give_connections(kernel::ConnectionKernel& kernel, kernel::bpf::ElementMap& map,
                                       GiveBack how);

}  // namespace ocicat::dataplane::ebpf
