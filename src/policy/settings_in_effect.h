// Which fields of FelixConfiguration have an effect: what resolve_settings() reads, and the selector, which
// says for whom it counts. All others are accepted, and `ocicat status` names them where somebody sets them.
#pragma once

#include <span>
#include <string_view>

namespace ocicat {

struct SettingInEffect {
  std::string_view field;
  bool with_ebpf_alone = false;
};

// By name, ascending.
std::span<const SettingInEffect> settings_in_effect();
// nullptr: it has none.
const SettingInEffect* find_setting(std::string_view field);

}  // namespace ocicat
