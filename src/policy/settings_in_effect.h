// Which fields of FelixConfiguration have an effect: what resolve_settings() reads, and the selector, which
// says for whom it counts. All others are accepted, and `ocicat status` names them where somebody sets them.
#pragma once

#include <span>
#include <string_view>

namespace ocicat {

struct SettingInEffect {
  std::string_view field;
  std::string_view with = {};  // the only datapath with which it has: "ebpf" or "nftables"; empty: either
  // Of a field of many, those that have one; empty: it is one, or all of them have.
  std::span<const std::string_view> parts = {};
};

// By name, ascending.
std::span<const SettingInEffect> settings_in_effect();
// nullptr: it has none.
const SettingInEffect* find_setting(std::string_view field);

// A value of which less comes than who sets it will expect.
struct Shortfall {
  std::string_view field;
  std::string_view value;      // in small letters
  std::string_view dataplane;  // with which it is so; empty: with any
  bool at_host_endpoints;      // where hosts with that datapath have some, and nowhere else
  std::string_view only;       // what comes of it all the same
};

std::span<const Shortfall> shortfalls();

}  // namespace ocicat
