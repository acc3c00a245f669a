// What the field tables cannot say: defaults that depend on other fields, and rules across fields.
//
//   source   Calico's own validators and the CEL rules of its CRDs; for Kubernetes kinds the API server's
//   rules
#pragma once

#include <boost/json/object.hpp>

#include "resources/kinds.h"
#include "resources/schema.h"

namespace ocicat::rules {

// Fills in what a field's value implies for others: policy types, the tier label, a pool's block size, the
// ports of a Kubernetes policy. Values of a wrong type are left for the checks to find.
void fill_defaults(Kind kind, boost::json::object& object);

// Names, labels and annotations, then the rules of the kind. Looks only at values of the right type: what is
// not was already found against the table.
void check(Kind kind, const boost::json::object& object, schema::Findings& findings);

// What is accepted and does nothing here, though a reader may think it does.
void find_idle(Kind kind, const boost::json::object& object, schema::Findings& findings);

// What may not change between two versions of one object.
void check_update(Kind kind, const boost::json::object& object, const boost::json::object& old,
                  schema::Findings& findings);

}  // namespace ocicat::rules
