// Which fields of FelixConfiguration have an effect: what resolve_settings() reads, and the selector, which
// says for whom it counts. All others are accepted, and `ocicat status` names them where somebody sets them.
#pragma once

#include <span>
#include <string_view>

namespace ocicat {

struct SettingInEffect {
  std::string_view field;
  std::string_view with = {};  // the only datapath with which it has: "ebpf" or "nftables"; empty: either
  std::string_view only =
      {};  // what comes of it where it is true, if that is less than who sets it will expect
};

// By name, ascending.
std::span<const SettingInEffect> settings_in_effect();
// nullptr: it has none.
const SettingInEffect* find_setting(std::string_view field);

}  // namespace ocicat
