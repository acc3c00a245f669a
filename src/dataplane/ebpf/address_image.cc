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

void AddressImage::want(const Changes<Prefix, ClassId>& changes) {
  before_.clear();
  users_before_.clear();
  const auto count = [&](ClassId id, int by) {
    auto& users = users_[id];
    users_before_.try_emplace(id, users);
    users += by;
    if (users == 0) users_.erase(id);
  };
  for (const auto& [prefix, after] : changes.entries()) {
    const auto key = prefix.masked();
    const auto found = wanted_.find(key);
    const auto before = found == wanted_.end() ? std::nullopt : std::optional(found->second);
    if (before == after) continue;
    before_.emplace(key, before);
    if (before) count(*before, -1);
    if (after) count(*after, 1);
    if (after) {
      wanted_.insert_or_assign(key, *after);
    } else {
      wanted_.erase(key);
    }
  }
}

AddressImage::Classes AddressImage::nets_before() const {
  Classes nets;
  for (const auto& [prefix, id] : wanted_) {
    if (!prefix.is_host()) nets.emplace(prefix, id);
  }
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

Result<void> AddressImage::put_exact(const IpAddress& address, std::uint32_t before, std::uint32_t after,
                                     Step& step) {
  const auto key = address_of(address);
  bpf::exact_class value{};
  value.id[step.now()] = before;
  value.id[step.next()] = after;
  TRY_VOID(classes_.put(bytes_of(key), bytes_of(value)));
  step.count_write();
  step.afterwards([this, key, after]() -> Result<void> {
    if (after == CLASS_UNKNOWN) return classes_.remove(bytes_of(key));
    const bpf::exact_class settled{{after, after}, {}, 0};
    return classes_.put(bytes_of(key), bytes_of(settled));
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
  for (const auto& [prefix, before] : before_) {
    if (!prefix.is_host()) {
      TRY_VOID(put_net(prefix, nets, step));
      continue;
    }
    const auto after = wanted_.find(prefix);
    TRY_VOID(put_exact(prefix.address, before ? number(*before) : CLASS_UNKNOWN,
                       after == wanted_.end() ? CLASS_UNKNOWN : number(after->second), step));
  }
  return {};
}

Result<void> AddressImage::resync(Step& step) {
  std::map<Prefix, std::array<std::uint32_t, 2>> there;
  TRY_VOID(classes_.for_each([&](auto key, auto value) {
    bpf::address address{};
    bpf::exact_class ids{};
    std::memcpy(&address, key.data(), sizeof address);
    std::memcpy(&ids, value.data(), sizeof ids);
    there.emplace(Prefix::host(address_of(address)), std::array{ids.id[0], ids.id[1]});
  }));
  TRY_VOID(nets_.for_each([&](auto key, auto value) {
    bpf::net net{};
    bpf::net_class ids{};
    std::memcpy(&net, key.data(), sizeof net);
    std::memcpy(&ids, value.data(), sizeof ids);
    there.emplace(prefix_of(net), std::array{ids.id[0], ids.id[1]});
  }));
  Classes nets_before;
  for (const auto& [prefix, ids] : there) {
    if (!prefix.is_host()) nets_before.emplace(prefix, ClassId{ids[step.now()]});
  }
  for (const auto& [prefix, ids] : there) {
    const auto wanted = wanted_.find(prefix);
    const bool stays = wanted != wanted_.end();
    const auto after = stays ? number(wanted->second) : CLASS_UNKNOWN;
    if (stays && ids[0] == after && ids[1] == after) continue;
    TRY_VOID(prefix.is_host() ? put_exact(prefix.address, ids[step.now()], after, step)
                              : put_net(prefix, nets_before, step));
  }
  for (const auto& [prefix, id] : wanted_) {
    if (there.contains(prefix)) continue;
    TRY_VOID(prefix.is_host() ? put_exact(prefix.address, CLASS_UNKNOWN, number(id), step)
                              : put_net(prefix, nets_before, step));
  }
  return {};
}

}  // namespace ocicat::dataplane::ebpf
