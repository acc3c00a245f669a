// Policies and profiles in a tenth of the memory, for those that concern nobody here at the moment.
//
// Every field that policy is computed from; not uid, revision and labels, which decide nothing. Within one
// process only: the form may change with the code.
#pragma once

#include <string>
#include <string_view>

#include "resources/types.h"

namespace ocicat {

std::string pack(const NetworkPolicy& policy);
std::string pack(const Profile& profile);
// Of what pack() gave; nothing else.
NetworkPolicy unpack_policy(std::string_view packed);
Profile unpack_profile(std::string_view packed);

}  // namespace ocicat
