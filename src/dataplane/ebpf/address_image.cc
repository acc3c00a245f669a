#include "dataplane/ebpf/address_image.h"

#include <algorithm>

namespace ocicat::dataplane::ebpf {
namespace {

using kernel::bpf::bytes_of;
using policy::ClassId;

std::uint32_t number(ClassId id) {
  return static_cast<std::uint32_t>(id);
}

// IPv4 prefixes stand among the IPv4-mapped ones.
std::uint32_t bits_of_net(const Prefix& prefix) {
  return prefix.length + (prefix.family() == Family::kIpv4 ? 96U : 0U);
}

bpf::net net_of(const Prefix& prefix) {
  return {bits_of_net(prefix), address_of(prefix.masked().address)};
}

Prefix prefix_of(const bpf::net& net) {
  const auto address = address_of(net.address);
  const bool v4 = address.is_v4() && net.bits >= 96;
  return {address, static_cast<std::uint8_t>(v4 ? net.bits - 96 : net.bits)};
}

Prefix all_of_ipv4() {
  return {IpAddress::v4(0), 0};
}

// What the nets around it say about all of a net: the class of the longest of them.
std::uint32_t class_around(const Prefix& net, const AddressImage::Classes& classes) {
  for (int length = net.length - 1; length >= 0; --length) {
    const auto found = classes.find(Prefix{net.address, static_cast<std::uint8_t>(length)}.masked());
    if (found != classes.end()) return number(found->second);
  }
  return 0;
}

std::uint32_t class_of_net(const Prefix& net, const AddressImage::Classes& classes) {
  const auto found = classes.find(net);
  return found == classes.end() ? class_around(net, classes) : number(found->second);
}

bool says_something(const auto& ids) {
  return std::ranges::any_of(ids, [](auto id) { return id != CLASS_UNKNOWN; });
}

}  // namespace

bpf::address address_of(const IpAddress& address) {
  bpf::address result{};
  std::memcpy(&result, address.bytes().data(), sizeof result);
  return result;
}

IpAddress address_of(const bpf::address& address) {
  IpAddress::Bytes bytes{};
  std::memcpy(bytes.data(), &address, sizeof address);
  return IpAddress::v6(bytes);
}

IpAddress block_of(const IpAddress& address) {
  return address_in_block(address, 0);
}

std::size_t place_in_block(const IpAddress& address) {
  return address.bytes().back() % bpf::CLASS_BLOCK;
}

IpAddress address_in_block(const IpAddress& first, std::size_t place) {
  auto bytes = first.bytes();
  bytes.back() = static_cast<std::uint8_t>(bytes.back() / bpf::CLASS_BLOCK * bpf::CLASS_BLOCK + place);
  return IpAddress::v6(bytes);
}

AddressImage::AddressImage(kernel::bpf::ElementMap& classes, kernel::bpf::ElementMap& nets)
    : classes_(classes),
      nets_(nets),
      wanted_{{all_of_ipv4(), ClassId{}}},
      wanted_nets_(wanted_),
      users_{{ClassId{}, 1}} {}

void AddressImage::want(const Changes<Prefix, ClassId>& changes) {
  before_.clear();
  users_before_.clear();
  const auto count = [&](ClassId id, int by) {
    auto& users = users_[id];
    users_before_.try_emplace(id, users);
    users += by;
    if (users == 0) users_.erase(id);
  };
  for (const auto& [prefix, wanted] : changes.entries()) {
    const auto key = prefix.masked();
    const auto after = !wanted && key == all_of_ipv4() ? std::optional(ClassId{}) : wanted;
    const auto found = wanted_.find(key);
    const auto before = found == wanted_.end() ? std::nullopt : std::optional(found->second);
    if (before == after) continue;
    before_.emplace(key, before);
    if (before) count(*before, -1);
    if (after) count(*after, 1);
    for (auto* classes : {&wanted_, key.is_host() ? nullptr : &wanted_nets_}) {
      if (classes == nullptr) continue;
      if (after) {
        classes->insert_or_assign(key, *after);
      } else {
        classes->erase(key);
      }
    }
  }
}

AddressImage::Classes AddressImage::nets_before() const {
  auto nets = wanted_nets_;
  for (const auto& [prefix, before] : before_) {
    nets.erase(prefix);
    if (before && !prefix.is_host()) nets.emplace(prefix, *before);
  }
  return nets;
}

std::set<std::pair<ClassId, ClassId>> AddressImage::moves() const {
  std::set<std::pair<ClassId, ClassId>> moves;
  const auto nets = before_.empty() ? Classes{} : nets_before();
  for (const auto& [prefix, before] : before_) {
    // Where an entry comes or goes, the nets around it answer on its other side.
    const auto found = wanted_.find(prefix);
    const auto from = before ? *before : ClassId{class_around(prefix, nets)};
    const auto to = found == wanted_.end() ? ClassId{class_around(prefix, wanted_)} : found->second;
    if (from != to) moves.emplace(from, to);
  }
  return moves;
}

bool AddressImage::is_kept(ClassId id) const {
  if (id == ClassId{}) return true;  // there are always addresses that nobody knows
  const auto now = users_.find(id);
  const auto before = users_before_.find(id);
  return now != users_.end() && (before == users_before_.end() || before->second > 0);
}

AddressImage::Ids AddressImage::ids_of(const IpAddress& first) const {
  Ids ids;
  ids.fill(CLASS_UNKNOWN);
  const auto last = address_in_block(first, ids.size() - 1);
  for (auto at = wanted_.lower_bound(Prefix{first, 0}); at != wanted_.end() && at->first.address <= last;
       ++at) {
    if (at->first.is_host()) ids.at(place_in_block(at->first.address)) = number(at->second);
  }
  return ids;
}

AddressImage::Ids AddressImage::ids_before(const IpAddress& first) const {
  auto ids = ids_of(first);
  const auto last = address_in_block(first, ids.size() - 1);
  for (auto at = before_.lower_bound(Prefix{first, 0}); at != before_.end() && at->first.address <= last;
       ++at) {
    if (at->first.is_host())
      ids.at(place_in_block(at->first.address)) = at->second ? number(*at->second) : CLASS_UNKNOWN;
  }
  return ids;
}

Result<void> AddressImage::put_block(const IpAddress& first, const Ids& before, const Ids& after,
                                     Step& step) {
  const auto key = address_of(first);
  const auto write = [this, key](const Ids& even, const Ids& odd) {
    bpf::class_block value{};
    std::ranges::copy(even, value.id[0]);
    std::ranges::copy(odd, value.id[1]);
    return classes_.put(bytes_of(key), bytes_of(value));
  };
  TRY_VOID(step.now() == 0 ? write(before, after) : write(after, before));
  step.count_write();
  step.afterwards([this, key, stays = says_something(after), after, write]() -> Result<void> {
    return stays ? write(after, after) : classes_.remove(bytes_of(key));
  });
  return {};
}

Result<void> AddressImage::put_net(const Prefix& net, const Classes& before, Step& step) {
  const auto key = net_of(net);
  const auto after = class_of_net(net, wanted_);
  bpf::net_class value{};
  value.id[step.now()] = class_of_net(net, before);
  value.id[step.next()] = after;
  TRY_VOID(nets_.put(bytes_of(key), bytes_of(value)));
  step.count_write();
  step.afterwards([this, key, after, stays = wanted_.contains(net)]() -> Result<void> {
    if (!stays) return nets_.remove(bytes_of(key));
    const bpf::net_class settled{{after, after}};
    return nets_.put(bytes_of(key), bytes_of(settled));
  });
  return {};
}

Result<void> AddressImage::update(Step& step) {
  const auto nets = before_.empty() ? Classes{} : nets_before();
  std::set<IpAddress> blocks;
  for (const auto& [prefix, before] : before_) {
    if (prefix.is_host()) {
      blocks.insert(block_of(prefix.address));
    } else {
      TRY_VOID(put_net(prefix, nets, step));
    }
  }
  for (const auto& first : blocks) TRY_VOID(put_block(first, ids_before(first), ids_of(first), step));
  return {};
}

Result<void> AddressImage::resync(Step& step) {
  TRY_VOID(resync_blocks(step));
  return resync_nets(step);
}

Result<void> AddressImage::resync_blocks(Step& step) {
  std::map<IpAddress, bpf::class_block> there;
  TRY_VOID(classes_.for_each([&](auto key, auto value) {
    bpf::address first{};
    bpf::class_block block{};
    std::memcpy(&first, key.data(), sizeof first);
    std::memcpy(&block, value.data(), sizeof block);
    there.emplace(address_of(first), block);
  }));
  for (const auto& [first, block] : there) {
    const auto after = ids_of(first);
    // One that says nothing is left over, and goes.
    if (says_something(after) && std::ranges::equal(block.id[0], after) &&
        std::ranges::equal(block.id[1], after))
      continue;
    Ids before;
    std::ranges::copy(block.id[step.now()], before.begin());
    TRY_VOID(put_block(first, before, after, step));
  }
  Ids nothing;
  nothing.fill(CLASS_UNKNOWN);
  std::optional<IpAddress> last;
  for (const auto& [prefix, id] : wanted_) {
    const auto first = block_of(prefix.address);
    if (!prefix.is_host() || first == last || there.contains(first)) continue;
    last = first;
    TRY_VOID(put_block(first, nothing, ids_of(first), step));
  }
  return {};
}

Result<void> AddressImage::resync_nets(Step& step) {
  std::map<Prefix, std::array<std::uint32_t, 2>> there;
  TRY_VOID(nets_.for_each([&](auto key, auto value) {
    bpf::net net{};
    bpf::net_class ids{};
    std::memcpy(&net, key.data(), sizeof net);
    std::memcpy(&ids, value.data(), sizeof ids);
    there.emplace(prefix_of(net), std::array{ids.id[0], ids.id[1]});
  }));
  Classes before;
  for (const auto& [prefix, ids] : there) before.emplace(prefix, ClassId{ids[step.now()]});
  for (const auto& [prefix, ids] : there) {
    const auto wanted = wanted_.find(prefix);
    if (wanted != wanted_.end() && ids[0] == number(wanted->second) && ids[1] == ids[0]) continue;
    TRY_VOID(put_net(prefix, before, step));
  }
  for (const auto& [prefix, id] : wanted_) {
    if (!prefix.is_host() && !there.contains(prefix)) TRY_VOID(put_net(prefix, before, step));
  }
  return {};
}

}  // namespace ocicat::dataplane::ebpf
