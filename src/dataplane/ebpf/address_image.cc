#include "dataplane/ebpf/address_image.h"

#include <algorithm>

namespace ocicat::dataplane::ebpf {
namespace {

using kernel::bpf::bytes_of;
using policy::ClassId;

std::uint32_t number(ClassId id) {
  return static_cast<std::uint32_t>(id);
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
    const auto found = wanted_.find(key);
    const auto before = found == wanted_.end() ? std::nullopt : std::optional(found->second);
    if (before == wanted) continue;
    before_.emplace(key, before);
    if (before) count(*before, -1);
    if (wanted) count(*wanted, 1);
    for (auto* classes : {&wanted_, key.is_host() ? nullptr : &wanted_nets_[key.family()]}) {
      if (classes == nullptr) continue;
      if (wanted) {
        classes->insert_or_assign(key, *wanted);
      } else {
        classes->erase(key);
      }
    }
  }
}

ClassId AddressImage::class_around(const Prefix& prefix, bool before) const {
  for (int length = prefix.length - 1; length >= 0; --length) {
    const auto net = Prefix{prefix.address, static_cast<std::uint8_t>(length)}.masked();
    const auto changed = before ? before_.find(net) : before_.end();
    if (changed != before_.end()) {
      if (changed->second) return *changed->second;
      continue;
    }
    const auto found = wanted_.find(net);
    if (found != wanted_.end()) return found->second;
  }
  return {};
}

std::set<std::pair<ClassId, ClassId>> AddressImage::moves() const {
  std::set<std::pair<ClassId, ClassId>> moves;
  for (const auto& [prefix, before] : before_) {
    // Where an entry comes or goes, the nets around it answer on its other side.
    const auto found = wanted_.find(prefix);
    const auto from = before ? *before : class_around(prefix, true);
    const auto to = found == wanted_.end() ? class_around(prefix, false) : found->second;
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

Result<void> AddressImage::update(Step& step) {
  std::set<IpAddress> blocks;
  std::map<Family, std::set<Prefix>> nets;
  for (const auto& [prefix, before] : before_) {
    if (prefix.is_host()) {
      blocks.insert(block_of(prefix.address));
    } else {
      nets[prefix.family()].insert(prefix);
    }
  }
  for (const auto& [family, changed] : nets)
    TRY_VOID(nets_.update(family, wanted_nets_[family], changed, step));
  for (const auto& first : blocks) TRY_VOID(put_block(first, ids_before(first), ids_of(first), step));
  return {};
}

Result<void> AddressImage::resync(Step& step) {
  TRY_VOID(resync_blocks(step));
  return nets_.resync(wanted_nets_[Family::kIpv4], wanted_nets_[Family::kIpv6], step);
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

}  // namespace ocicat::dataplane::ebpf
