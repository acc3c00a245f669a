#include "dataplane/ebpf/host_image.h"

#include <algorithm>
#include <array>
#include <cstring>
#include <utility>
#include <vector>

namespace ocicat::dataplane::ebpf {
namespace {

using kernel::bpf::bytes_of;
using policy::ChainKind;
using policy::Direction;
using policy::Hook;

static_assert(index_of(Hook{ChainKind::kPreDnat, Direction::kIngress}) == bpf::HOOK_PRE_DNAT_IN);
static_assert(policy::kHooks.size() <= bpf::HOST_HOOKS);

bpf::interface_name name_of(const std::string& name) {
  bpf::interface_name result{};
  std::copy_n(name.begin(), std::min(name.size(), sizeof result.letters - 1), result.letters);
  return result;
}

std::string text_of(const bpf::interface_name& name) {
  const auto end = std::ranges::find(name.letters, 0);
  return {std::begin(name.letters), end};
}

bpf::host_chains chains_of(const HostEndpointState& endpoint) {
  bpf::host_chains result{};
  for (std::size_t family = 0; family < endpoint.chains.size(); ++family) {
    for (std::size_t hook = 0; hook < endpoint.chains[family].size(); ++hook)
      result.chain[family][hook] = static_cast<std::uint32_t>(endpoint.chains[family][hook]);
  }
  return result;
}

}  // namespace

std::uint32_t HostImage::id_of(const ResourceKey& key) const {
  const auto found = endpoints_.find(key);
  return found == endpoints_.end() ? 0 : found->second.id;
}

// Forward chains, and those that count before it is known whether the host takes a packet for itself.
bool HostImage::asks_forwarded() const {
  constexpr std::array kKinds{ChainKind::kForward, ChainKind::kUntracked, ChainKind::kPreDnat};
  return std::ranges::any_of(endpoints_, [&](const auto& entry) {
    return std::ranges::any_of(policy::kHooks, [&](const Hook& hook) {
      return std::ranges::find(kKinds, hook.chain) != kKinds.end() &&
             std::ranges::any_of(kFamilies, [&](Family family) {
               return entry.second.chain(family, hook) != policy::ChainId{};
             });
    });
  });
}

bool HostImage::has_untracked(const std::string& interface_name) const {
  const auto assigned = assigned_.by_name.find(interface_name);
  const auto found =
      assigned == assigned_.by_name.end() ? endpoints_.end() : endpoints_.find(assigned->second);
  constexpr Hook kHook{ChainKind::kUntracked, Direction::kIngress};
  return found != endpoints_.end() && std::ranges::any_of(kFamilies, [&](Family family) {
           return found->second.chain(family, kHook) != policy::ChainId{};
         });
}

bool HostImage::has_untracked() const {
  return std::ranges::any_of(assigned_.by_name, [&](const auto& assigned) {
    const auto found = endpoints_.find(assigned.second);
    return found != endpoints_.end() && !workloads_.contains(assigned.first) &&
           std::ranges::any_of(policy::kHooks, [&](const Hook& hook) {
             return hook.chain == ChainKind::kUntracked && std::ranges::any_of(kFamilies, [&](Family family) {
                      return found->second.chain(family, hook) != policy::ChainId{};
                    });
           });
  });
}

// The empty name has what is left. Without host endpoints nobody looks.
HostImage::Names HostImage::wanted() const {
  Names names;
  if (endpoints_.empty()) return names;
  const auto all_others = assigned_.all_others ? id_of(*assigned_.all_others) : 0;
  if (all_others != 0) names.emplace("", all_others);
  for (const auto& [name, key] : assigned_.by_name) {
    if (const auto id = id_of(key); id != 0) names.emplace(name, id);
  }
  for (const auto& name : workloads_) names.emplace(name, all_others).first->second |= INTERFACE_OF_WORKLOAD;
  return names;
}

Result<void> HostImage::write_endpoints(const Concerned& concerned, Step& step) {
  std::map<std::uint32_t, bpf::host_chains> wanted;
  for (const auto id : written_) wanted.emplace(id, bpf::host_chains{});
  written_.clear();
  for (const auto& [key, endpoint] : endpoints_) {
    if (endpoint.id >= memory_.size())
      return fail(ErrorCode::kExhausted, "no room for more than {} host endpoints", memory_.size() - 1);
    wanted.insert_or_assign(endpoint.id, chains_of(endpoint));
    written_.insert(endpoint.id);
  }
  for (const auto& [id, chains] : wanted) {
    bool changes = step.set(memory_[id].chains, chains);
    for (const auto& hooks : chains.chain) {
      for (const auto chain : hooks) changes |= chain != 0 && concerned.has(policy::ChainId{chain});
    }
    if (changes && !concerned.stay) step.write(memory_[id].changed, step.coming());
  }
  return {};
}

// Of a name without an entry, one that no judgement can still hold: an entry that went did so in an earlier step.
Result<std::uint32_t> HostImage::number_for(const std::string& name, std::uint32_t before, Step& step) {
  if (const auto found = numbers_.find(name); found != numbers_.end()) return found->second;
  if (free_.empty())
    return fail(ErrorCode::kExhausted, "no room for more than {} names of interfaces", interfaces_.size());
  const auto number = *free_.begin();
  for (auto& endpoint : interfaces_[number].endpoint) step.write(endpoint, before);
  TRY_VOID(names_.put(bytes_of(name_of(name)), bytes_of(number)));
  step.count_write();
  free_.erase(number);
  numbers_.emplace(name, number);
  return number;
}

Result<void> HostImage::put(const std::string& name, std::uint32_t before, std::uint32_t after, Step& step) {
  TRY(const auto number, number_for(name, before, step));
  step.set(interfaces_[number].endpoint, after);
  if (there_.contains(name)) return {};
  step.count_write();
  step.afterwards([this, name, number] {
    numbers_.erase(name);
    free_.insert(number);
    return names_.remove(bytes_of(name_of(name)));
  });
  return {};
}

// On the side where a name has no entry, it has what is left.
Result<void> HostImage::write_names(const std::set<std::string>& anyway, const Concerned& concerned,
                                    Step& step) {
  const auto before = std::exchange(there_, wanted());
  const auto at = [](const Names& names, const std::string& name) {
    const auto found = names.find(name);
    if (found != names.end()) return found->second;
    const auto others = names.find("");
    return others == names.end() ? 0U : others->second;
  };
  std::set<std::string> names = anyway;
  std::set<std::uint32_t> given;
  for (const auto& [name, id] : before) {
    if (!there_.contains(name) || there_.at(name) != id) names.insert(name);
  }
  for (const auto& [name, unused] : there_) {
    if (!before.contains(name)) names.insert(name);
  }
  for (const auto& name : names) {
    const auto had = at(before, name), has = at(there_, name);
    TRY_VOID(put(name, had, has, step));
    // Whose an interface is concerns what begins there alone.
    const auto id = has & ~INTERFACE_OF_WORKLOAD;
    if (id != 0 && (id != (had & ~INTERFACE_OF_WORKLOAD) || anyway.contains(name))) given.insert(id);
  }
  if (concerned.stay) return {};
  for (const auto id : given) step.write(memory_[id].given, step.coming());
  if (concerned.all) step.write(memory_[0].changed, step.coming());
  return {};
}

Result<void> HostImage::update(const Concerned& concerned, Step& step) {
  TRY_VOID(write_endpoints(concerned, step));
  return write_names({}, concerned, step);
}

// An entry with a number that there is not, or that another name has, is none of ours.
Result<void> HostImage::read_names(std::set<std::string>& unsettled, std::size_t side) {
  there_.clear();
  numbers_.clear();
  free_.clear();
  for (std::uint32_t number = 0; number < interfaces_.size(); ++number) free_.insert(free_.end(), number);
  std::vector<bpf::interface_name> strange;
  TRY_VOID(names_.for_each([&](auto key, auto value) {
    bpf::interface_name name{};
    std::uint32_t number = 0;
    std::memcpy(&name, key.data(), sizeof name);
    std::memcpy(&number, value.data(), sizeof number);
    if (free_.erase(number) == 0) return strange.push_back(name);
    const auto text = text_of(name);
    const auto& endpoint = interfaces_[number].endpoint;
    if (endpoint[0] != endpoint[1]) unsettled.insert(text);
    there_.emplace(text, endpoint[side]);
    numbers_.emplace(text, number);
  }));
  for (const auto& name : strange) TRY_VOID(names_.remove(bytes_of(name)));
  return {};
}

Result<void> HostImage::resync(const Concerned& concerned, Step& step) {
  std::set<std::string> unsettled;  // an agent has been stopped in the middle
  TRY_VOID(read_names(unsettled, step.now()));
  for (std::uint32_t id = 1; id < memory_.size(); ++id) written_.insert(id);
  TRY_VOID(write_endpoints(concerned, step));
  return write_names(unsettled, concerned, step);
}

}  // namespace ocicat::dataplane::ebpf
