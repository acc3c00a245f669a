// Connections in a table of another layout, which programs of another build have noted: by the names of
// members, as both tables say of themselves which they have.
//
//   rule     a member that keeps its name keeps its meaning (bpf/maps/connections.h)
//   taken    what both have; the rest is 0. Batch and slots are the host's of that time: callers give others
//   not      nothing at all where the older table knows connections by something that the other does not have,
//            or one of them lacks who began it and what its ends have said
//   moment   programs may be at work on it: each connection as it is when it is read
#pragma once

#include <cstddef>
#include <functional>
#include <memory>
#include <optional>
#include <vector>

#include "base/unique_fd.h"
#include "kernel/bpf.h"
#include "maps/connections.h"

namespace ocicat::dataplane::ebpf {

struct NotedConnection {
  bpf::connection_key key;
  bpf::connection value;
};

class OlderConnections {
 public:
  // Map `connections` of either. Nothing: it cannot be taken.
  static Result<std::optional<OlderConnections>> open(const UniqueFd& older, const UniqueFd& current);

  // Those that are over as well. O(places).
  Result<void> for_each(const std::function<void(const NotedConnection&)>& visit) const;

 private:
  struct Copy {
    std::size_t from = 0, to = 0, size = 0;
  };

  std::unique_ptr<kernel::bpf::ElementMap> map_;
  std::vector<Copy> copies_;            // from an element to a NotedConnection
  std::optional<std::size_t> version_;  // of the place, where it has one (struct tracked)
};

}  // namespace ocicat::dataplane::ebpf
