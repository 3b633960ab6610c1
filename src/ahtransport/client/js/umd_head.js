(function (scope) {
'use strict';
