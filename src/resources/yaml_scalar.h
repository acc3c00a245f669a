// What an unquoted word of YAML means.
//
// As the Kubernetes tools read it, which is YAML 1.1: yes, no, on, off, y and n are booleans, 0x10, 0b11 and
// 010 are numbers, and 1_000 is a thousand; but 12:30 is text, and so is a date.
//
//   source   sigs.k8s.io/yaml, whose reader kubectl and calicoctl use
#pragma once

#include <boost/json/value.hpp>

#include <string_view>

namespace ocicat {

// Null, a boolean, a number or the text itself. `.nan` and `.inf` become doubles that JSON cannot hold: the
// caller has to refuse them.
boost::json::value resolve_plain_scalar(std::string_view text);

}  // namespace ocicat
