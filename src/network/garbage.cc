#include "network/garbage.h"

#include <fmt/format.h>

#include <algorithm>
#include <tuple>

#include "network/address_block.h"
#include "network/ipam_block.h"
#include "network/pool_choice.h"

namespace ocicat::network {
namespace {

// What allocators note beside an address.
constexpr std::string_view kPod = "pod";
constexpr std::string_view kNamespace = "namespace";
constexpr std::string_view kType = "type";
constexpr std::string_view kTunnelSuffix = "TunnelAddress";

std::string attribute(const Labels& labels, std::string_view name) {
  const auto at = labels.find(std::string(name));
  return at == labels.end() ? std::string() : at->second;
}

std::string name_of_endpoint(const WorkloadEndpoint& endpoint) {
  return fmt::format("{}/{}", endpoint.metadata.ns,
                     endpoint.workload.empty() ? endpoint.metadata.name : endpoint.workload);
}

// An address that somebody was given.
struct Allocation {
  IpAddress address;
  Prefix block;
  std::string handle;
  std::int64_t sequence = 0;
  std::string node;
  std::string ns;
  std::string pod;
  bool tunnel = false;
  bool known = false;  // that it is given to somebody is all there is to know, where not
};

enum class Need { kNeeded, kGone, kUnknown, kContested };

struct Judged {
  const Allocation* allocation = nullptr;
  Need need = Need::kNeeded;
  bool host_is_gone = false;
  std::string reason;
};

class Judge {
 public:
  Judge(const Inventory& inventory, const Sightings& seen, TimePoint now, const GracePeriods& grace)
      : inventory_(inventory), seen_(seen), now_(now), grace_(grace) {
    for (const auto& endpoint : inventory.endpoints) {
      for (const auto& address : endpoint.addresses) {
        const auto [holder, is_first] = holders_.emplace(address, &endpoint);
        // A pod and the endpoint that it has are one.
        if (!is_first && name_of_endpoint(*holder->second) != name_of_endpoint(endpoint))
          shared_.try_emplace(address, &endpoint);
      }
      if (!endpoint.workload.empty())
        workloads_.emplace(std::pair(endpoint.metadata.ns, endpoint.workload), &endpoint);
    }
    for (const auto& block : inventory.blocks) list_allocations(block);
  }

  std::vector<Finding> run() {
    judge_addresses();
    judge_handles();
    judge_blocks();
    judge_affinities();
    find_strays();
    find_shared();
    list_unreadable();
    std::ranges::sort(findings_, {}, [](const Finding& finding) {
      return std::tuple(finding.fault, finding.block.value_or(Prefix{}),
                        finding.address.value_or(IpAddress{}), finding.subject);
    });
    return std::move(findings_);
  }

 private:
  void list_allocations(const IpamBlock& block) {
    for (IpamBlock::Ordinal ordinal = 0; ordinal < block.size(); ++ordinal) {
      if (is_free(block, ordinal)) continue;
      const auto* found = attribute_of(block, ordinal);
      if (found != nullptr && (found->released_at || found->handle == kWindowsHandle)) continue;
      Allocation allocation{address_at(block.cidr, ordinal), block.cidr, {}, 0, {}, {}, {}, false, false};
      if (const auto at = block.allocated_at.find(ordinal); at != block.allocated_at.end())
        allocation.sequence = at->second;
      if (found != nullptr) {
        allocation.known = true;
        allocation.handle = found->handle.value_or("");
        allocation.node = node_of(*found);
        allocation.ns = attribute(found->secondary, kNamespace);
        allocation.pod = attribute(found->secondary, kPod);
        const auto type = attribute(found->secondary, kType);
        allocation.tunnel = type.ends_with(kTunnelSuffix) || type == kGatewayType;
      }
      allocations_.push_back(std::move(allocation));
    }
  }

  bool is_gone(const std::string& node) const {
    return !node.empty() && !inventory_.nodes.empty() && !inventory_.nodes.contains(node);
  }

  Finding& add(Fault fault, Verdict verdict, std::string subject, std::string reason) {
    auto& finding = findings_.emplace_back();
    finding.fault = fault;
    finding.verdict = verdict;
    finding.subject = std::move(subject);
    finding.reason = std::move(reason);
    finding.since = now_;
    return finding;
  }

  // Since when; known once the finding is complete.
  void date(Finding& finding) const {
    const auto at = seen_.find(finding.key());
    finding.since = at == seen_.end() ? now_ : std::min(at->second, now_);
  }
  // Seen before, and so long ago.
  bool lasted(const Finding& finding, std::chrono::seconds grace) const {
    return seen_.contains(finding.key()) && finding.since + grace <= now_;
  }

  // --- addresses

  Judged judge(const Allocation& allocation) const {
    Judged judged{&allocation, Need::kNeeded, is_gone(allocation.node), {}};
    if (allocation.tunnel) {
      if (allocation.node.empty()) {
        judged.need = Need::kUnknown;
        judged.reason = "a tunnel address of no known host";
      } else if (judged.host_is_gone) {
        judged.need = Need::kGone;
        judged.reason = fmt::format("tunnel address of {}, which is gone", allocation.node);
      }
      return judged;
    }
    const auto holder = holders_.find(allocation.address);
    const bool names_pod = !allocation.pod.empty() && !allocation.ns.empty();
    if (holder != holders_.end()) {
      const WorkloadEndpoint& endpoint = *holder->second;
      const bool same = !names_pod || endpoint.workload.empty() ||
                        (endpoint.metadata.ns == allocation.ns && endpoint.workload == allocation.pod);
      if (same) return judged;
      judged.need = Need::kContested;
      judged.reason = fmt::format("given to {}/{}, and {} has it", allocation.ns, allocation.pod,
                                  name_of_endpoint(endpoint));
      return judged;
    }
    if (!names_pod) {
      judged.need = Need::kUnknown;
      judged.reason = allocation.known ? "no endpoint has it, and nothing says whose it is"
                                       : "the block does not say who has it";
      return judged;
    }
    const auto pod = workloads_.find({allocation.ns, allocation.pod});
    if (pod != workloads_.end() && pod->second->addresses.empty()) return judged;  // it is just being made
    judged.need = Need::kGone;
    judged.reason = fmt::format("{}/{} {}", allocation.ns, allocation.pod,
                                pod == workloads_.end() ? "is gone" : "has other addresses");
    if (judged.host_is_gone) judged.reason += fmt::format(", and its host {} is gone", allocation.node);
    return judged;
  }

  void judge_addresses() {
    std::vector<Judged> all;
    all.reserve(allocations_.size());
    for (const auto& allocation : allocations_) all.push_back(judge(allocation));
    std::set<std::string> hosts_in_use;  // that still have something else than tunnel addresses
    std::set<std::string> needed_handles;
    std::vector<std::size_t> leaks;  // in findings_
    for (const auto& judged : all) {
      const Allocation& allocation = *judged.allocation;
      if (judged.need != Need::kGone && !allocation.tunnel) hosts_in_use.insert(allocation.node);
      if (judged.need != Need::kGone) needed_handles.insert(allocation.handle);
      if (judged.need == Need::kNeeded) continue;
      const Fault fault = judged.need == Need::kGone        ? Fault::kLeakedAddress
                          : judged.need == Need::kContested ? Fault::kContestedAddress
                                                            : Fault::kUnownedAddress;
      auto& finding = add(fault, Verdict::kReport, allocation.address.to_string(), judged.reason);
      finding.address = allocation.address;
      finding.sequence = allocation.sequence;
      finding.handle = allocation.handle;
      finding.block = allocation.block;
      date(finding);
      if (judged.need == Need::kContested) shared_.erase(allocation.address);  // it is told by this
      if (judged.need != Need::kGone) continue;
      leaks.push_back(findings_.size() - 1);
      const bool long_enough = judged.host_is_gone || lasted(finding, grace_.leak);
      const bool last_of_host = !allocation.tunnel || !hosts_in_use_before(all, allocation.node);
      finding.verdict = long_enough && last_of_host ? Verdict::kFree : Verdict::kWait;
      if (!last_of_host) finding.reason += "; other addresses of the host come first";
    }
    // All addresses of a handle, or none.
    for (const auto i : leaks) {
      if (findings_[i].verdict != Verdict::kFree) needed_handles.insert(findings_[i].handle);
    }
    for (const auto i : leaks) {
      Finding& finding = findings_[i];
      if (finding.verdict != Verdict::kFree || finding.handle.empty()) continue;
      if (!needed_handles.contains(finding.handle)) continue;
      finding.verdict = Verdict::kWait;
      finding.reason += "; other addresses of its handle are not free to go";
    }
  }

  static bool hosts_in_use_before(const std::vector<Judged>& all, const std::string& node) {
    return std::ranges::any_of(all, [&](const Judged& other) {
      return other.allocation->node == node && !other.allocation->tunnel && other.need != Need::kGone;
    });
  }

  // --- handles

  void judge_handles() {
    std::map<std::string, std::map<Prefix, int>> held;
    for (const auto& allocation : allocations_) {
      if (!allocation.handle.empty()) ++held[handle_key(allocation.handle).name][allocation.block];
    }
    std::set<std::string> documents;
    for (const auto& document : inventory_.unreadable) {
      if (document.key.kind == Kind::kIpamHandle) documents.insert(document.key.name);
    }
    for (const auto& handle : inventory_.handles) {
      const auto name = handle_key(handle.id).name;
      documents.insert(name);
      const auto& there = held[name];
      std::string surplus;
      for (const auto& [block, count] : handle.blocks) {
        const auto at = there.find(block);
        const int has = at == there.end() ? 0 : at->second;
        if (has < count)
          surplus += fmt::format("{}{} in {}, where it has {}", surplus.empty() ? "" : ", ", count,
                                 block.to_string(), has);
      }
      if (surplus.empty() && !(there.empty() && handle.blocks.empty())) continue;
      auto& finding = add(Fault::kStaleHandle, Verdict::kWait, handle.id,
                          surplus.empty() ? "has no addresses" : fmt::format("says that it has {}", surplus));
      finding.handle = handle.id;
      date(finding);
      if (lasted(finding, grace_.leak)) finding.verdict = Verdict::kFree;
    }
    for (const auto& allocation : allocations_) {
      if (allocation.handle.empty() || documents.contains(handle_key(allocation.handle).name)) continue;
      auto& finding = add(Fault::kMissingHandle, Verdict::kReport, allocation.address.to_string(),
                          fmt::format("is given under handle {}, which has no document", allocation.handle));
      finding.address = allocation.address;
      finding.sequence = allocation.sequence;
      finding.handle = allocation.handle;
      finding.block = allocation.block;
      date(finding);
    }
  }

  // --- blocks and affinities

  void judge_blocks() {
    std::map<std::pair<BlockOwner, Family>, int> owned;
    for (const auto& block : inventory_.blocks) {
      if (block.affinity) ++owned[{*block.affinity, block.cidr.family()}];
    }
    for (const auto& block : inventory_.blocks) {
      const IpPool* pool = pool_of(inventory_.pools, block.cidr.address);
      const bool outside = pool == nullptr || !is_block_of(*pool, block.cidr);
      if (outside && !is_empty(block)) {
        auto& finding = add(Fault::kBlockOutsidePools, Verdict::kReport, block.cidr.to_string(),
                            pool == nullptr ? "is in no IPPool; nothing new is given from it"
                                            : fmt::format("is no block of IPPool {}", pool->metadata.name));
        finding.block = block.cidr;
        finding.owner = block.affinity;
        date(finding);
      }
      if (!is_empty(block) || !block.affinity) continue;
      const bool host_is_gone =
          block.affinity->type == BlockOwner::Type::kHost && is_gone(block.affinity->name);
      int& left = owned[{*block.affinity, block.cidr.family()}];
      // Its last is kept: the next workload would have to claim one.
      if (left <= 1 && !host_is_gone && !outside) continue;
      auto& finding = add(Fault::kEmptyBlock, Verdict::kWait, block.cidr.to_string(),
                          fmt::format("of {} is empty{}", block.affinity->to_string(),
                                      host_is_gone ? ", and the host is gone"
                                      : outside    ? ", and of no IPPool"
                                                   : ", and it has others"));
      finding.block = block.cidr;
      finding.owner = block.affinity;
      date(finding);
      if (!lasted(finding, grace_.empty_block)) continue;
      finding.verdict = Verdict::kFree;
      --left;
    }
  }

  void judge_affinities() {
    std::map<Prefix, const IpamBlock*> blocks;
    for (const auto& block : inventory_.blocks) blocks.emplace(block.cidr, &block);
    std::set<std::pair<BlockOwner, Prefix>> announced;
    std::set<Prefix> unreadable_blocks;
    std::set<ResourceKey> unreadable_affinities;
    for (const auto& [key, why, block] : inventory_.unreadable) {
      if (block) unreadable_blocks.insert(*block);
      if (key.kind == Kind::kBlockAffinity) unreadable_affinities.insert(key);
    }
    for (const auto& affinity : inventory_.affinities) {
      announced.insert({affinity.owner, affinity.cidr});
      const auto at = blocks.find(affinity.cidr);
      const bool is_owners = at != blocks.end() && at->second->affinity == affinity.owner;
      if (is_owners && affinity.state == BlockAffinity::State::kConfirmed) continue;
      if (unreadable_blocks.contains(affinity.cidr)) continue;
      auto& finding =
          add(Fault::kBrokenAffinity, Verdict::kWait, affinity.cidr.to_string(),
              is_owners
                  ? fmt::format("of {} was left {}", affinity.owner.to_string(), to_string(affinity.state))
                  : fmt::format("{} wants it, and {}", affinity.owner.to_string(),
                                at == blocks.end() ? "there is no such block" : "the block is not its own"));
      finding.block = affinity.cidr;
      finding.owner = affinity.owner;
      date(finding);
      // What its owner can put right it does when it next needs a block.
      if (!is_owners && lasted(finding, grace_.leak)) finding.verdict = Verdict::kFree;
    }
    for (const auto& block : inventory_.blocks) {
      if (!block.affinity || announced.contains({*block.affinity, block.cidr})) continue;
      if (unreadable_affinities.contains(affinity_key(*block.affinity, block.cidr))) continue;
      auto& finding = add(Fault::kMissingAffinity, Verdict::kReport, block.cidr.to_string(),
                          fmt::format("belongs to {}, and no affinity says so", block.affinity->to_string()));
      finding.block = block.cidr;
      finding.owner = block.affinity;
      date(finding);
    }
  }

  void find_strays() {
    std::set<IpAddress> given;
    for (const auto& allocation : allocations_) given.insert(allocation.address);
    for (const auto& [address, endpoint] : holders_) {
      const IpPool* pool = pool_of(inventory_.pools, address);
      if (pool == nullptr || given.contains(address)) continue;
      if (unreadable_block_of(inventory_.unreadable, address)) continue;
      auto& finding = add(Fault::kStrayAddress, Verdict::kReport, address.to_string(),
                          fmt::format("{} has it, and nobody was given it; another may get it from IPPool {}",
                                      name_of_endpoint(*endpoint), pool->metadata.name));
      finding.address = address;
      date(finding);
    }
  }

  void list_unreadable() {
    for (const auto& document : inventory_.unreadable)
      date(add(Fault::kUnreadableDocument, Verdict::kReport, document.key.to_string(),
               fmt::format("cannot be read: {}", document.why)));
  }

  // Nobody is given an address twice: one of both has it by hand, or hands it over, as a machine that moves.
  void find_shared() {
    for (const auto& [address, endpoint] : shared_) {
      if (pool_of(inventory_.pools, address) == nullptr) continue;
      auto& finding = add(Fault::kContestedAddress, Verdict::kReport, address.to_string(),
                          fmt::format("{} and {} both have it", name_of_endpoint(*holders_.at(address)),
                                      name_of_endpoint(*endpoint)));
      finding.address = address;
      date(finding);
    }
  }

  const Inventory& inventory_;
  const Sightings& seen_;
  const TimePoint now_;
  const GracePeriods grace_;
  std::map<IpAddress, const WorkloadEndpoint*> holders_;
  std::map<IpAddress, const WorkloadEndpoint*> shared_;  // another who has what somebody in holders_ has
  std::map<std::pair<std::string, std::string>, const WorkloadEndpoint*> workloads_;
  std::vector<Allocation> allocations_;
  std::vector<Finding> findings_;
};

}  // namespace

std::optional<Prefix> unreadable_block_of(std::span<const Unreadable> documents, const IpAddress& address) {
  const auto at = std::ranges::find_if(documents, [&](const Unreadable& document) {
    return document.block && document.block->contains(address);
  });
  return at == documents.end() ? std::nullopt : at->block;
}

std::string_view to_string(Fault fault) {
  switch (fault) {
    case Fault::kLeakedAddress:
      return "LeakedAddress";
    case Fault::kUnownedAddress:
      return "UnownedAddress";
    case Fault::kContestedAddress:
      return "ContestedAddress";
    case Fault::kStrayAddress:
      return "StrayAddress";
    case Fault::kStaleHandle:
      return "StaleHandle";
    case Fault::kMissingHandle:
      return "MissingHandle";
    case Fault::kEmptyBlock:
      return "EmptyBlock";
    case Fault::kBrokenAffinity:
      return "BrokenAffinity";
    case Fault::kMissingAffinity:
      return "MissingAffinity";
    case Fault::kUnreadableDocument:
      return "UnreadableDocument";
    case Fault::kBlockOutsidePools:
      return "BlockOutsidePools";
  }
  return "";
}

std::string_view to_string(Verdict verdict) {
  switch (verdict) {
    case Verdict::kFree:
      return "free";
    case Verdict::kWait:
      return "wait";
    case Verdict::kReport:
      return "report";
  }
  return "";
}

std::string Finding::key() const {
  return fmt::format("{} {} {} {} {}", to_string(fault), subject, sequence.value_or(0), handle,
                     owner ? owner->to_string() : "");
}

std::vector<Finding> find_garbage(const Inventory& inventory, const Sightings& seen, TimePoint now,
                                  const GracePeriods& grace) {
  return Judge(inventory, seen, now, grace).run();
}

}  // namespace ocicat::network
