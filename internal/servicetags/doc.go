// Package servicetags reads the lists in which Microsoft publishes the address
// ranges of Azure, by service and region ("service tags"): the weekly
// ServiceTags_Public_YYYYMMDD.json (download id 56519) and the XML file it
// replaced (id 41653, last issue 2020-08-24).
//
// A tag is compared without case and always whole: AzureCloud.northeurope2 is a
// region of its own and never part of AzureCloud.northeurope.
//
// What the package is not: it fetches nothing and decides nothing. It turns a
// file into prefixes, or says at which offset the file is wrong.
package servicetags
