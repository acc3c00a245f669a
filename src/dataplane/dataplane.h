// Makes the kernel look as HostState says, and keeps it so.
//
//   in      HostChanges, from the engine's mailbox; the first message is the whole state, and nothing is
//           written before it
//   out     a report after every attempt
//   errors  after any error the kernel is read again and planned anew, with growing pauses; what is in force
//           stays
//   design  docs/design/dataplane.md
#pragma once

#include <cstdint>
#include <filesystem>
#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "base/mailbox.h"
#include "base/result.h"
#include "dataplane/hosts/host_interfaces.h"
#include "dataplane/routes/route_plan.h"
#include "engine/host_state.h"
#include "kernel/bpf_abilities.h"

namespace ocicat::dataplane {

namespace ebpf {
class Objects;
}

// An interface of a tunnel.
struct TunnelLink {
  std::string interface_name;
  std::uint32_t mtu = 0;
  std::optional<IpAddress> address{};  // of its end here
  // Of VXLAN: the other hosts of the cluster, and of how many of them the kernel knows the end.
  struct Ends {
    std::size_t hosts = 0;
    std::size_t known = 0;

    bool operator==(const Ends&) const = default;
  };
  std::optional<Ends> ends{};

  bool operator==(const TunnelLink&) const = default;
};

struct Report {
  Revisions revisions;              // in the kernel now
  std::size_t endpoints = 0;        // wanted
  std::size_t endpoints_ready = 0;  // interface there, policy in force, routes in place
  std::size_t routes = 0;           // wanted
  std::size_t routes_ready = 0;     // in the kernel
  std::map<ResourceKey, HostEndpointStatus> host_endpoints;
  HostInterfaces interfaces;        // whose they are
  std::string error;                // empty: all is as wanted; else what failed and what is tried next
  std::uint64_t kernel_writes = 0;  // messages sent so far that change something
  std::uint64_t revoked = 0;        // open connections that policy came to deny
  std::uint64_t repairs = 0;        // times somebody else's change was mended
  std::uint32_t mtu = 0;            // what workloads may send at once; 0: not known yet
  std::vector<TunnelLink> tunnels;  // those in use that are up
  std::vector<std::string> notes;   // what the host's kernel is kept from doing, and why
  std::string warning;  // what speaks against the datapath that somebody has named; empty: nothing

  bool operator==(const Report&) const = default;
};

// What enforces policy; kNone: nothing does, as somebody has asked for routes alone.
enum class Datapath : std::uint8_t { kNftables, kEbpf, kNone };
std::string_view to_string(Datapath datapath);  // "nftables", "ebpf", "none"
// What people are told of a host without policy.
inline constexpr std::string_view kNoPolicy =
    "no policy is enforced on this host: its agent was told to keep routes alone";

// What the choice between them depends on, where nobody has made it (datapath_choice.h).
struct Circumstances {
  std::string kernel_cannot;  // why eBPF is out of the question; empty: it is not
  bool may_pass = false;      // for want of memory, or so: worth another try later
  bool at_host = true;        // the kernel has a place for the programs of host endpoints
  bool has_host_endpoints = false;
  std::string translator;  // who else translates destinations here; empty: nobody
  std::string unseen;      // why that cannot be seen; empty: it can

  void absorb(Circumstances later) { *this = std::move(later); }
  bool operator==(const Circumstances&) const = default;
};

struct Options {
  Datapath datapath = Datapath::kNftables;
  std::optional<Circumstances> chosen_by;  // nothing: somebody has said which datapath, and that is that
  std::filesystem::path pin_folder;        // of eBPF objects, one for each host; empty: there are none
  // What may be used of what the kernel can do for eBPF: tests leave some out.
  kernel::bpf::Abilities usable{true, true, true, true, true};
  std::shared_ptr<ebpf::Objects> objects;  // loaded already, for the first one who needs them
  std::string nft_table = "ocicat";
  int route_protocol = 80;
  bool sweep = true;                         // remove what carries our mark and is not wanted
  std::uint32_t host_metric = kRouteMetric;  // of routes by other hosts that need no tunnel

  std::string nat_table() const { return nft_table + "_nat"; }
};

// Ids that the kernel already uses; empty on a host that never ran an agent. Call before building the Engine.
// kUnavailable: there is policy of an agent before, and this one is to have none.
Result<policy::Dictionary> adopt_dictionary(const Options& options);

class HostKeeper;

// One thread, in the network namespace of whoever creates it. Besides the inbox it listens to the kernel:
// links that come and go, somebody else's changes to our table and routes.
class DataplaneLoop {
 public:
  // `on_attempt` may look at what is in force, for as long as it is called; both are called on the loop's
  // thread, after every attempt.
  // `on_other_choice`: of a datapath that was chosen by circumstances, once these speak for the other one.
  // Nothing is written from then on, and nothing of what has made it so.
  DataplaneLoop(Options options, Mailbox<HostChanges>& inbox, std::function<void(const Report&)> on_report,
                std::function<void(const HostKeeper&)> on_attempt = {},
                std::function<void(const Circumstances&)> on_other_choice = {});
  ~DataplaneLoop();  // stops and joins; leaves the kernel as it is
  DataplaneLoop(const DataplaneLoop&) = delete;
  DataplaneLoop& operator=(const DataplaneLoop&) = delete;

 private:
  struct State;
  std::unique_ptr<State> state_;
};

// Removes everything that carries our mark: for `ocicat agent --cleanup` and for tests.
Result<void> remove_all(const Options& options);

}  // namespace ocicat::dataplane
