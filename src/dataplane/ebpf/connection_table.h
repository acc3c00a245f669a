// Map connections from the agent's side, while programs work on it: elements by key, though it is an array of
// places (bpf/lib/connections.h).
#pragma once

#include <optional>

#include "base/unique_fd.h"
#include "kernel/bpf.h"
#include "maps/holders.h"
#include "maps/timeouts.h"
#include "policy/host_settings.h"

namespace ocicat::dataplane::ebpf {

// It is in this process's memory only while somebody works on it: it is 32 MB.
class ConnectionTable final : public kernel::bpf::ElementMap {
 public:
  // In memory of other maps; borrowed.
  struct Beside {
    const bpf::secret* secret;  // of map host
    const bpf::timeouts* timeouts;
    bpf::holders* holders;
  };
  // nullopt: only to be read.
  ConnectionTable(UniqueFd map, const std::optional<Beside>& beside)
      : map_(std::move(map)), beside_(beside) {}

  // Of one that is there the counters stay. kExhausted: its places have others, all of which count. The first call
  // has the map in memory, until put_all_done().
  Result<void> put(kernel::bpf::Bytes key, kernel::bpf::Bytes value) override;
  void put_all_done() { memory_.reset(); }
  Result<void> remove(kernel::bpf::Bytes key) override;
  // By which interfaces packets come from outside, translated by nobody: each is to be learned again, from what
  // the stack lets in. O(places): about 10 ms.
  Result<void> forget_ways();
  // Those that are over as well, until others have their places.
  Result<void> for_each(
      const std::function<void(kernel::bpf::Bytes key, kernel::bpf::Bytes value)>& visit) override;

 private:
  bpf::tracked* place_for(const bpf::connection_key& key, std::uint32_t now) const;
  bool rewrite(bpf::tracked& place, std::uint32_t version, const bpf::connection& value, std::uint32_t now);
  bool occupy(bpf::tracked& there, std::uint32_t version, const bpf::connection_key& key,
              const bpf::connection& value);
  bpf::holder holder_of(const bpf::connection_key& key, const bpf::connection& connection) const;
  void add_to(const bpf::holder& holder, std::int32_t places);

  UniqueFd map_;
  std::optional<kernel::bpf::MappedArray> memory_;  // while there are more to put
  std::optional<Beside> beside_;
};

// In ticks (bpf/maps/host.h), as connections note it.
std::uint32_t ticks_now();
// For how many seconds it still counts without packets; at most 0: it is over (bpf/maps/timeouts.h).
std::int64_t seconds_left(const bpf::connection& connection, std::uint8_t protocol, std::uint32_t now,
                          const bpf::timeouts& timeouts);
bpf::timeouts timeouts_of(const HostSettings::Timeouts& timeouts);

}  // namespace ocicat::dataplane::ebpf
