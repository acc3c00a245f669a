// BGPConfiguration of a host: what `node.NAME` says, else what `default` says. Private to this folder.
#pragma once

#include <map>
#include <string>

#include "resources/bgp.h"

namespace ocicat::network::bgp {

class Settings {
 public:
  Settings(const std::map<std::string, BgpConfiguration>& all, const std::string& node)
      : own_(find(all, "node." + node)), common_(find(all, "default")) {}

  // A field that may be unset.
  template <class T>
  T get(std::optional<T> BgpConfiguration::* field, T otherwise) const {
    if (own_ != nullptr && own_->*field) return *(own_->*field);
    if (common_ != nullptr && common_->*field) return *(common_->*field);
    return otherwise;
  }
  // A text or list that is empty where it is unset.
  template <class T>
  T get(T BgpConfiguration::* field) const {
    if (own_ != nullptr && !(own_->*field).empty()) return own_->*field;
    return common_ == nullptr ? T() : common_->*field;
  }
  template <class T>
  std::optional<T> get(std::array<std::optional<T>, 2> BgpConfiguration::* field, Family family) const {
    const std::size_t i = family == Family::kIpv4 ? 0 : 1;
    if (own_ != nullptr && (own_->*field)[i]) return (own_->*field)[i];
    return common_ == nullptr ? std::nullopt : (common_->*field)[i];
  }
  // What only `default` may say; null where there is none.
  const BgpConfiguration* common() const { return common_; }

 private:
  static const BgpConfiguration* find(const std::map<std::string, BgpConfiguration>& all,
                                      const std::string& name) {
    const auto it = all.find(name);
    return it == all.end() ? nullptr : &it->second;
  }

  const BgpConfiguration* own_;  // null: there is none
  const BgpConfiguration* common_;
};

}  // namespace ocicat::network::bgp
