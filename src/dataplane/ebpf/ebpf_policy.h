// Policy in eBPF: holds maps, programs and their attachments to what is desired.
//
//   writes   a change is one step, which packets see as a whole (step.h)
//   errors   what is in force stays; the maps then count as unknown until resync() has succeeded
//   design   docs/design/ebpf.md
#pragma once

#include <filesystem>
#include <memory>
#include <optional>

#include "dataplane/ebpf/address_image.h"
#include "dataplane/ebpf/endpoint_image.h"
#include "dataplane/ebpf/floating_image.h"
#include "dataplane/ebpf/guard.h"
#include "dataplane/ebpf/host_address_image.h"
#include "dataplane/ebpf/host_hooks.h"
#include "dataplane/ebpf/host_image.h"
#include "dataplane/ebpf/objects.h"
#include "dataplane/ebpf/tunnel_image.h"
#include "dataplane/policy_datapath.h"
#include "kernel/bpf_abilities.h"
#include "kernel/connections.h"

namespace ocicat::dataplane::ebpf {

class EbpfPolicy final : public PolicyDatapath {
 public:
  // Borrows the kernels; the routes' tells at which interfaces there is traffic control, the connections' what nftables
  // has let through. Pins are in `folder`, one for each host. Of what the running kernel can do, no more than
  // `usable` is used. `objects`: loaded already.
  EbpfPolicy(kernel::nft::Kernel& nft, kernel::RouteKernel& routes, kernel::ConnectionKernel& connections,
             std::filesystem::path folder, const kernel::bpf::Abilities& usable,
             std::shared_ptr<Objects> objects = {})
      : routes_(routes),
        connections_(connections),
        folder_(std::move(folder)),
        usable_(usable),
        loaded_(std::move(objects)),
        links_at_(folder_ / "links"),
        host_hooks_(folder_ / "hosts"),
        guard_(nft) {}

  Result<void> apply(const HostChanges& changes) override;
  Result<void> assign(const HostInterfaces& interfaces) override;
  Result<bool> resync() override;
  bool in_step() const override { return maps_known_ && links_known_; }
  void distrust() override;
  void learn_links(const Links& links) override;
  void reroute() override;
  Result<void> take_tunnels(Family family, const TunnelChanges& changes) override;
  Result<void> take_translation(bool changed) override;
  bool serves(const std::string& interface_name) const override;
  std::vector<std::string> notes() const override;
  std::uint64_t writes() const override {
    return writes_ + attachments_.writes() + host_hooks_.writes() + guard_.writes();
  }

 private:
  enum class By : std::uint8_t { kLinks, kFilters };

  // The parts that need the maps.
  struct Images {
    explicit Images(Objects made);

    Objects objects;
    TableImage tables;
    AddressImage addresses;
    EndpointImage endpoints;
    HostImage hosts;
    TunnelImage tunnels;
    FloatingImage floating;
    HostAddressImage own;
  };

  void want(const HostChanges& changes);
  void want_workloads();
  Result<void> open();
  Result<Objects> objects();
  Result<void> write_changes();
  void forget_changes();  // the first are all there is
  Result<void> compare_all();
  Result<void> compare_dictionary();
  Result<void> sync_places(const HostChanges& changes);
  By wanted_by() const;
  Result<void> sync_attachments();
  Result<void> sync_guard();
  // Of connections that are older than the maps: what the kernel has tracked.
  Result<void> take_connections();
  // Programs see every packet by now: what the kernel tracks is all that they have missed.
  Result<void> finish_taking_over();
  Result<void> sync_host_hooks();
  // Which rules are to ask; nothing: the kernel asks by itself, or there is nobody to ask about.
  Result<std::optional<ProgramsAtHooks>> programs_at_hooks() const;
  // The interface that programs may go past.
  TunnelInterface interface_of(const OpenTunnels& tunnels) const;
  void want_tunnels();
  Result<void> write_tunnels();
  bool write_settings(Step& step);
  bool connections_stay() const { return wanted_.settings.open_connections == OpenConnections::kStay; }
  // Netfilter does not see all of a connection that goes past the stack: what it sees of it later is to be
  // valid. Whether it is: where nobody tracks, nothing is.
  Result<void> relax_tracking();
  bool wants_translation() const {
    return wanted_.settings.redirect && !wanted_.settings.nat.sources.empty();
  }
  // What leaves pools may go past the stack, translated.
  bool may_translate() const;
  bool is_workload(const std::string& interface_name) const;
  std::map<int, Role> roles() const;
  // Addresses that the host itself has.
  std::set<IpAddress> own_addresses() const;
  // Puts the endpoints where their interfaces are.
  void place_endpoints();
  bool covered_by_prefix(const std::string& interface_name) const;

  kernel::RouteKernel& routes_;
  kernel::ConnectionKernel& connections_;
  std::filesystem::path folder_;
  HostState wanted_;  // without routes
  Changes<policy::DictionaryKey, std::uint32_t> new_words_;
  std::unique_ptr<Images> images_;
  std::map<Family, OpenTunnels> tunnels_;  // of which somebody has told
  HostInterfaces interfaces_;              // as they have been assigned
  kernel::bpf::Abilities usable_;
  bool tracking_relaxed_ = false;
  std::optional<bool> translated_;  // as is desired; nothing: as whoever was here before has left it
  std::shared_ptr<Objects> loaded_;
  LinkPlaces links_at_;
  std::unique_ptr<FilterPlaces> filters_at_;  // opened when it is first needed
  std::optional<By> attached_by_;             // nothing: programs may be at places of both kinds
  Attachments attachments_;
  HostHooks host_hooks_;
  Guard guard_;
  Links links_;
  std::set<int> controlled_;  // of those, by index
  bool maps_known_ = false;
  std::string own_note_;  // of the map of the host's own addresses, which decides nothing but what is said
  bool links_known_ = false;
  bool taking_over_ = false;  // nftables is in force, and refuses what is to be refused
  bool taken_over_ = false;   // the connections that are older than the maps
  std::uint64_t writes_ = 0;
};

// Ids that the pinned maps use; empty where there are none of this layout.
Result<policy::Dictionary> read_dictionary(const std::filesystem::path& folder);

}  // namespace ocicat::dataplane::ebpf
