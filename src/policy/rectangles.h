// Which table keys and source ports a rule matches, once its address criteria are decided.
#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "base/ip.h"
#include "policy/rule_book.h"
#include "policy/sweep.h"

namespace ocicat::policy {

// Numbers that the named ports of one side of a rule stand for, at one address.
struct NamedPorts {
  std::vector<std::uint16_t> ports;
  std::vector<std::uint16_t> not_ports;
  std::vector<std::uint32_t> service_keys;  // table keys of what the address stands behind the service with
};

// Disjoint, ascending by key. Empty: the rule matches nothing.
std::vector<Rectangle> rectangles_of(const RuleMatch& match, Family family, const NamedPorts& source,
                                     const NamedPorts& destination);

}  // namespace ocicat::policy
