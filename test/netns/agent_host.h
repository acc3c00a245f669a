// A dataplane at work on a testbed's host, and small policies for it.
#pragma once

#include <condition_variable>
#include <filesystem>
#include <functional>
#include <memory>
#include <mutex>
#include <optional>
#include <span>

#include "dataplane/dataplane.h"
#include "kernel/bpf.h"
#include "kernel/bpf_ring.h"
#include "maps/events.h"
#include "netns/testbed.h"

namespace ocicat::test {

// What tests of eBPF may use of what the kernel can do: all of it; but with OCICAT_WITHOUT_TCX in the
// environment programs are attached by filters, and with OCICAT_WITHOUT_NETFILTER rules ask those of host endpoints, as on
// kernels that have nothing else.
kernel::bpf::Abilities usable_abilities();

// Where a test pins eBPF objects: a folder of its own, which goes with it.
class PinFolder {
 public:
  PinFolder();
  ~PinFolder();
  PinFolder(const PinFolder&) = delete;
  PinFolder& operator=(const PinFolder&) = delete;

  const std::filesystem::path& path() const { return path_; }
  // What a dataplane of this kind is told.
  dataplane::Options options(dataplane::Datapath datapath) const;
  // Those that eBPF tracks for workloads (bpf::tracked); nothing where the datapath is another.
  std::optional<kernel::bpf::MappedArray> connections() const { return open_array("connections"); }
  // What concerns the whole host (bpf::host).
  std::optional<kernel::bpf::MappedArray> host_values() const { return open_array("host"); }
  std::optional<kernel::bpf::MappedArray> holders() const { return open_array("holders"); }
  // Packets by what became of them (bpf::counter).
  std::vector<std::uint64_t> counters() const;
  // How many elements a hash has.
  std::size_t count_elements(const char* map) const;
  // As if the programs that are attached had been those of another build.
  void change_build() const;
  // Opens what flows are told by.
  kernel::bpf::Ring open_events() const;
  // Runs the program that judges at the host's hook over a packet that begins with its IP header, in the network namespace of
  // the caller, whoever asks it there. Whether it passes.
  Result<bool> run_at_host(kernel::bpf::NetfilterHook hook, std::span<const std::uint8_t> packet) const;
  // Forgets all that eBPF tracks.
  void forget_connections() const;

 private:
  std::optional<UniqueFd> open_map(const char* name) const;
  std::optional<kernel::bpf::MappedArray> open_array(const char* name) const;

  std::filesystem::path path_;
};

// What has been told since the last call.
std::vector<bpf::event> events_in(kernel::bpf::Ring& ring);

class AgentHost {
 public:
  explicit AgentHost(const Testbed& bed, dataplane::Options options = {},
                     std::function<void(const dataplane::Circumstances&)> on_other_choice = {});

  void put(HostChanges changes) { inbox_.put(std::move(changes)); }
  // Puts them as the next revision, and waits until that is in force.
  void apply(HostChanges changes);
  // Waits for a report of which this holds, and returns it; aborts the test where none comes.
  dataplane::Report await(const std::function<bool(const dataplane::Report&)>& holds);
  // Until the revision has come to the kernel and all endpoints are ready.
  dataplane::Report await_revision(std::uint64_t revision);

 private:
  std::uint64_t revision_ = 0;  // the last that was applied
  Mailbox<HostChanges> inbox_;
  std::mutex mutex_;
  std::condition_variable reported_;
  std::optional<dataplane::Report> last_;
  std::unique_ptr<dataplane::DataplaneLoop> loop_;
};

// Programs: 1 allows all, 2 denies all, 3 allows TCP port 80 from peers of class 1.
inline constexpr policy::ProgramId kAllowAll{1}, kDenyAll{2}, kWebFromClass1{3};
HostChanges first_state(std::uint64_t revision);

ResourceKey pod_key(const std::string& name);
// Routes included.
void add_pod(HostChanges& changes, const std::string& name, const Station& pod, policy::ProgramId ingress,
             policy::ProgramId egress);
void remove_pod(HostChanges& changes, const std::string& name, const Station& pod);
HostChanges at_revision(std::uint64_t revision);

RawPacket probe(const IpAddress& from, const IpAddress& to, Protocol protocol, std::uint16_t port);

}  // namespace ocicat::test
