#include "dataplane/ebpf/address_image.h"

#include <cstring>

namespace ocicat::dataplane::ebpf {

using policy::ClassId;

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
  for (const auto& [prefix, wanted] : changes.entries()) {
    const auto key = prefix.masked();
    const auto before = this->wanted(key);
    if (before == wanted) continue;
    before_.emplace(key, before);
    if (before) count(*before, -1);
    if (wanted) count(*wanted, 1);
    auto& classes = wanted_.at(key.family());
    if (wanted) {
      classes.insert_or_assign(key, *wanted);
    } else {
      classes.erase(key);
    }
  }
}

void AddressImage::want_all(const std::map<Prefix, ClassId>& classes) {
  want({});
  users_.clear();
  for (auto& [family, wanted] : wanted_) wanted.clear();
  for (const auto& [prefix, id] : classes) {
    auto& wanted = wanted_.at(prefix.family());
    wanted.insert_or_assign(wanted.end(), prefix.masked(), id);
  }
  for (const auto& [family, wanted] : wanted_) {
    for (const auto& [prefix, id] : wanted) ++users_[id];
  }
}

std::optional<ClassId> AddressImage::wanted(const Prefix& prefix) const {
  const auto& classes = wanted_.at(prefix.family());
  const auto found = classes.find(prefix);
  return found == classes.end() ? std::nullopt : std::optional(found->second);
}

ClassId AddressImage::class_around(const Prefix& prefix, bool before) const {
  for (int length = prefix.length - 1; length >= 0; --length) {
    const auto net = Prefix{prefix.address, static_cast<std::uint8_t>(length)}.masked();
    const auto changed = before ? before_.find(net) : before_.end();
    if (changed != before_.end()) {
      if (changed->second) return *changed->second;
      continue;
    }
    if (const auto found = wanted(net)) return *found;
  }
  return {};
}

std::set<std::pair<ClassId, ClassId>> AddressImage::moves() const {
  std::set<std::pair<ClassId, ClassId>> moves;
  for (const auto& [prefix, before] : before_) {
    // Where an entry comes or goes, the nets around it answer on its other side.
    const auto from = before ? *before : class_around(prefix, true);
    const auto here = wanted(prefix);
    const auto to = here ? *here : class_around(prefix, false);
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

Result<void> AddressImage::update(Step& step) {
  std::map<Family, std::set<Prefix>> changed;
  for (const auto& [prefix, unused] : before_) changed[prefix.family()].insert(prefix);
  for (const auto& [family, nets] : changed) TRY_VOID(nets_.update(family, wanted_.at(family), nets, step));
  return {};
}

Result<void> AddressImage::resync(Step& step) {
  return nets_.resync(wanted_.at(Family::kIpv4), wanted_.at(Family::kIpv6), step);
}

}  // namespace ocicat::dataplane::ebpf
