// Where a host's datapath tells of flows.
#pragma once

#include <cstdint>
#include <filesystem>
#include <functional>
#include <memory>
#include <string>

#include "agent/losses.h"
#include "dataplane/dataplane.h"
#include "dataplane/hosts/host_interfaces.h"
#include "engine/host_state.h"
#include "flows/event.h"

namespace ocicat::agent {

class FlowSource {
 public:
  virtual ~FlowSource() = default;
  // In the network namespace of the caller. With eBPF there are two at once: the ring, and the log groups of
  // the rules that stand beside the programs. `losses` outlives it. `name_of`: of an interface, by its index. `ledger`: the
  // file that says what has been told of connections that the kernel tracks.
  using NameOf = std::function<std::string(std::uint32_t)>;
  static std::unique_ptr<FlowSource> of(const dataplane::Options& options,
                                        const std::filesystem::path& ledger, Losses& losses, NameOf name_of);

  // The part of a message to the dataplane that such a source learns from, and outcomes and settings.
  static HostChanges needed(const dataplane::Options& options, const HostChanges& changes);

  // What the host should look like from now on.
  virtual void learn(const HostChanges& changes) = 0;
  // Which host endpoint has which interface.
  virtual void learn(const dataplane::HostInterfaces& interfaces) = 0;

  // What there is, at most so many. Never waits.
  virtual void read(std::size_t most, const std::function<void(const flows::Event&)>& visit) = 0;
  // What connections have carried since they were told last; those as well that go on and have carried nothing. The rest
  // of what has ended is among what read() hands over. O(connections).
  virtual void read_connections(const std::function<void(const flows::Event&)>& visit) = 0;
  // How many packets connections have carried of which nobody will be told; since the last call, as take_lost().
  virtual std::uint64_t take_untold() = 0;
  // How many events have been lost since the last call; with the first one, also those of before, that no agent
  // has told of.
  virtual std::uint64_t take_lost() = 0;
};

}  // namespace ocicat::agent
